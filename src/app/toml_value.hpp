#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace fusionllm::detail {

struct TomlEntry;

/*!
 * A value of a TOML document that knows where it was written, so that messages
 * can say it; in our own types, so that one source alone needs the parser.
 */
struct TomlValue {
    struct DateOrTime {};
    using List = std::vector<TomlValue>;
    using Table = std::vector<TomlEntry>;  // by key, ascending

    std::string place;  //!< "x.toml:12", or "--set a.b=c"
    std::variant<DateOrTime,
                 bool,
                 std::int64_t,
                 double,
                 std::string,
                 List,
                 Table>
        data;

    //! Null if it is of another type.
    template <class Type>
    const Type* get() const {
        return std::get_if<Type>(&data);
    }
    //! Of a table: the value under the key, or null.
    const TomlValue* find(std::string_view key) const;
};

struct TomlEntry {
    std::string key;
    std::string place;
    TomlValue value;
};

//! The table of a document; throws `InputError` that starts with line and
//! column, "x.toml:3:7: ...".
TomlValue parse_toml(const std::string& text, const std::string& file);

//! The value of "--set a.b=VALUE"; a bare word is a text. `given` is the whole
//! setting, the place of the value and of all its parts.
TomlValue parse_setting_value(const std::string& value,
                              const std::string& given);

//! As a message shows it: "\"text\"", "1.5", "a list".
std::string describe(const TomlValue& value);

}  // namespace fusionllm::detail
