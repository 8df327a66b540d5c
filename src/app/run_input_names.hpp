#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "app/run_input_keys.hpp"

namespace fusionllm::detail {

//! All sections and their keys, to check spelling with.
class KnownKeys {
public:
    KnownKeys();
    const std::vector<std::string>& sections() const { return sections_; }
    bool has_section(std::string_view name) const;
    //! Throw `InputError` that starts with `place` and has the nearest name.
    void check_section(std::string_view name, const std::string& place) const;
    void check_key(std::string_view section,
                   std::string_view key,
                   const std::string& place) const;

    // As a visitor of the keys.
    void section(const char* name, const char*);
    template <class Value, class Rule>
    void key(const char* name, const Value&, const Rule&, const char*) {
        keys_[sections_.back()].emplace_back(name);
    }

private:
    std::vector<std::string> sections_;
    std::map<std::string, std::vector<std::string>, std::less<>> keys_;
};

//! The parts of "section.key=value".
struct Setting {
    std::string section;
    std::string key;
    std::string value;
};

//! Throws `InputError` that starts with `place`.
Setting parse_setting(const std::string& text, const std::string& place);

//! "train.steps"
std::string dotted(std::string_view section, std::string_view key);
//! "\"a\", \"b\" or \"c\""
std::string to_text(const Choices& choices);
//! "at least 1"
std::string to_text(const IntegerRange& range);

}  // namespace fusionllm::detail
