#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "app/toml_value.hpp"

namespace fusionllm::detail {

/*!
 * Reads a TOML table that may have certain keys. All errors are `InputError`s
 * that begin with the place and name the key and `what` has it: "'kind' of a
 * site in 'sites'".
 */
class TableReader {
public:
    //! Throws when the value is no table, or has a key that is not among these.
    TableReader(const TomlValue& table,
                std::string what,
                const std::vector<std::string>& keys);

    const std::string& what() const { return what_; }
    const std::string& place() const { return table_.place; }
    bool has(std::string_view key) const { return find(key) != nullptr; }
    const TomlValue* find(std::string_view key) const;
    //! Throws when it is not there.
    const TomlValue& require(std::string_view key) const;

    std::string read_text(std::string_view key) const;
    std::int64_t read_integer(std::string_view key,
                              std::int64_t min,
                              std::int64_t max) const;
    double read_number(std::string_view key) const;
    std::vector<std::string> read_texts(std::string_view key) const;

    //! One of the parse_ functions of util/units.hpp.
    using ParseQuantity = double (*)(std::string_view);
    double read_quantity(std::string_view key, ParseQuantity parse) const;
    //! Leaves the number as it is when the key is not there.
    void read_quantity(std::string_view key,
                       ParseQuantity parse,
                       double& number) const;

private:
    void expect(bool condition,
                std::string_view key,
                std::string_view kind,
                const TomlValue& value) const;

    const TomlValue& table_;
    std::string what_;
};

//! A text with a unit; `name` is its name in messages.
double parse_quantity(const TomlValue& value,
                      const std::string& name,
                      TableReader::ParseQuantity parse);

//! The items; throws "NAME must be a list of KIND" when it is no list.
const TomlValue::List& read_list(const TomlValue& value,
                                 const std::string& name,
                                 std::string_view kind);

}  // namespace fusionllm::detail
