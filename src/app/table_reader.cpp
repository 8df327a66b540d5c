#include "app/table_reader.hpp"

#include <algorithm>

#include <fmt/ranges.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm::detail {

TableReader::TableReader(const TomlValue& table,
                         std::string what,
                         const std::vector<std::string>& keys)
    : table_(table), what_(std::move(what)) {
    const auto* entries = table.get<TomlValue::Table>();
    FUSIONLLM_VALIDATE(entries != nullptr,
                       "{}: {} must be a table with {}, not {}",
                       table.place,
                       what_,
                       fmt::join(keys, ", "),
                       describe(table));
    for (const TomlEntry& entry : *entries) {
        FUSIONLLM_VALIDATE(std::ranges::find(keys, entry.key) != keys.end(),
                           "{}: unknown key '{}' of {}{}",
                           entry.place,
                           entry.key,
                           what_,
                           did_you_mean(entry.key, keys));
    }
}

const TomlValue* TableReader::find(std::string_view key) const {
    return table_.find(key);
}

const TomlValue& TableReader::require(std::string_view key) const {
    const TomlValue* value = find(key);
    FUSIONLLM_VALIDATE(
        value != nullptr, "{}: {} needs '{}'", table_.place, what_, key);
    return *value;
}

void TableReader::expect(bool condition,
                         std::string_view key,
                         std::string_view kind,
                         const TomlValue& value) const {
    FUSIONLLM_VALIDATE(condition,
                       "{}: '{}' of {} must be {}, not {}",
                       value.place,
                       key,
                       what_,
                       kind,
                       describe(value));
}

std::string TableReader::read_text(std::string_view key) const {
    const TomlValue& value = require(key);
    const auto* text = value.get<std::string>();
    expect(text != nullptr, key, "a text in quotes", value);
    return *text;
}

std::int64_t TableReader::read_integer(std::string_view key,
                                       std::int64_t min,
                                       std::int64_t max) const {
    const TomlValue& value = require(key);
    const auto* number = value.get<std::int64_t>();
    expect(number != nullptr && *number >= min && *number <= max,
           key,
           fmt::format("an integer between {} and {}", min, max),
           value);
    return *number;
}

double TableReader::read_number(std::string_view key) const {
    const TomlValue& value = require(key);
    if (const auto* integer = value.get<std::int64_t>()) {
        return static_cast<double>(*integer);
    }
    const auto* number = value.get<double>();
    expect(number != nullptr, key, "a number", value);
    return *number;
}

std::vector<std::string> TableReader::read_texts(std::string_view key) const {
    const TomlValue& value = require(key);
    const auto* items = value.get<TomlValue::List>();
    expect(items != nullptr, key, "a list of texts in quotes", value);
    std::vector<std::string> texts;
    for (const TomlValue& item : *items) {
        const auto* text = item.get<std::string>();
        expect(text != nullptr, key, "a list of texts in quotes", item);
        texts.push_back(*text);
    }
    return texts;
}

double TableReader::read_quantity(std::string_view key,
                                  ParseQuantity parse) const {
    return parse_quantity(
        require(key), fmt::format("'{}' of {}", key, what_), parse);
}

void TableReader::read_quantity(std::string_view key,
                                ParseQuantity parse,
                                double& number) const {
    if (has(key)) {
        number = read_quantity(key, parse);
    }
}

double parse_quantity(const TomlValue& value,
                      const std::string& name,
                      TableReader::ParseQuantity parse) {
    const auto* text = value.get<std::string>();
    try {
        // A number is refused in the words of the one that knows the units.
        return parse(text != nullptr ? *text : describe(value));
    } catch (const InputError& error) {
        throw InputError(
            fmt::format("{}: {}: {}", value.place, name, error.what()));
    }
}

const TomlValue::List& read_list(const TomlValue& value,
                                 const std::string& name,
                                 std::string_view kind) {
    const auto* items = value.get<TomlValue::List>();
    FUSIONLLM_VALIDATE(items != nullptr,
                       "{}: {} must be a list of {}, not {}",
                       value.place,
                       name,
                       kind,
                       describe(value));
    return *items;
}

}  // namespace fusionllm::detail
