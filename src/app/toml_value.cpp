#include "app/toml_value.hpp"

#include <algorithm>
#include <functional>

#include <toml++/toml.h>

#include "fusionllm/util/error.hpp"

#include "app/toml_text.hpp"

namespace fusionllm::detail {
namespace {

using FindPlace = std::function<std::string(const toml::source_region&)>;

TomlValue convert(const toml::node& node, const FindPlace& place) {
    TomlValue value{place(node.source()), {}};
    if (const auto* text = node.as_string()) {
        value.data = text->get();
    } else if (const auto* integer = node.as_integer()) {
        value.data = integer->get();
    } else if (const auto* number = node.as_floating_point()) {
        value.data = number->get();
    } else if (const auto* truth = node.as_boolean()) {
        value.data = truth->get();
    } else if (const auto* list = node.as_array()) {
        auto& items = value.data.emplace<TomlValue::List>();
        for (const toml::node& item : *list) {
            items.push_back(convert(item, place));
        }
    } else if (const auto* table = node.as_table()) {
        auto& entries = value.data.emplace<TomlValue::Table>();
        for (const auto& [key, item] : *table) {
            entries.push_back({std::string(key.str()),
                               place(key.source()),
                               convert(item, place)});
        }
    }
    return value;
}

}  // namespace

const TomlValue* TomlValue::find(std::string_view key) const {
    const auto* table = get<Table>();
    if (table == nullptr) {
        return nullptr;
    }
    const auto found = std::ranges::find(*table, key, &TomlEntry::key);
    return found == table->end() ? nullptr : &found->value;
}

TomlValue parse_toml(const std::string& text, const std::string& file) {
    try {
        return convert(toml::parse(text, file),
                       [&](const toml::source_region& source) {
                           return fmt::format("{}:{}", file, source.begin.line);
                       });
    } catch (const toml::parse_error& error) {
        throw InputError(fmt::format("{}:{}:{}: {}",
                                     file,
                                     error.source().begin.line,
                                     error.source().begin.column,
                                     error.description()));
    }
}

TomlValue parse_setting_value(const std::string& value,
                              const std::string& given) {
    toml::table holder;
    try {
        holder = toml::parse("value = " + value);
    } catch (const toml::parse_error& error) {
        const bool is_bare = value.find_first_of("\"'[{") != 0 &&
                             value.find('\n') == std::string::npos;
        FUSIONLLM_VALIDATE(is_bare, "{}: {}", given, error.description());
        holder.insert("value", value);
    }
    FUSIONLLM_VALIDATE(
        holder.size() == 1, "{}: give one value, in one line", given);
    return convert(*holder.get("value"),
                   [&](const toml::source_region&) { return given; });
}

std::string describe(const TomlValue& value) {
    struct Describer {
        std::string operator()(TomlValue::DateOrTime) const {
            return "a date or time";
        }
        std::string operator()(bool truth) const {
            return truth ? "true" : "false";
        }
        std::string operator()(std::int64_t number) const {
            return std::to_string(number);
        }
        std::string operator()(double number) const {
            return toml_float(number);
        }
        std::string operator()(const std::string& text) const {
            return toml_string(text);
        }
        std::string operator()(const TomlValue::List&) const {
            return "a list";
        }
        std::string operator()(const TomlValue::Table&) const {
            return "a table";
        }
    };
    return std::visit(Describer{}, value.data);
}

}  // namespace fusionllm::detail
