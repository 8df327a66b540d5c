#include "app/run_input_names.hpp"

#include <algorithm>

#include <fmt/ranges.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

#include "app/toml_text.hpp"

namespace fusionllm::detail {
namespace {

bool contains(const std::vector<std::string>& words, std::string_view word) {
    return std::ranges::find(words, word) != words.end();
}

}  // namespace

KnownKeys::KnownKeys() {
    const RunInput input;
    visit_keys(input, *this);
}

bool KnownKeys::has_section(std::string_view name) const {
    return keys_.contains(name);
}

void KnownKeys::section(const char* name, const char*) {
    sections_.emplace_back(name);
    keys_[name];
}

void KnownKeys::check_section(std::string_view name,
                              const std::string& place) const {
    FUSIONLLM_VALIDATE(has_section(name),
                       "{}: unknown section [{}]{}",
                       place,
                       name,
                       did_you_mean(name, sections_));
}

void KnownKeys::check_key(std::string_view section,
                          std::string_view key,
                          const std::string& place) const {
    const auto& keys = keys_.find(section)->second;
    if (contains(keys, key)) {
        return;
    }
    std::vector<std::string> others;
    for (const std::string& other : sections_) {
        if (contains(keys_.at(other), key)) {
            others.push_back(other);
        }
    }
    const std::string hint =
        others.empty()
            ? did_you_mean(key, keys)
            : fmt::format("; it belongs to [{}]", fmt::join(others, "] or ["));
    throw InputError(fmt::format(
        "{}: unknown key '{}' in [{}]{}", place, key, section, hint));
}

Setting parse_setting(const std::string& text, const std::string& place) {
    const std::size_t equals = text.find('=');
    const auto names =
        split(trim(std::string_view(text).substr(0, equals)), '.');
    FUSIONLLM_VALIDATE(
        equals != std::string::npos && names.size() == 2,
        "{}: a setting is section.key=value, such as train.steps=10",
        place);
    return {names[0],
            names[1],
            std::string(trim(std::string_view(text).substr(equals + 1)))};
}

std::string dotted(std::string_view section, std::string_view key) {
    return fmt::format("{}.{}", section, key);
}

std::string to_text(const Choices& choices) {
    const auto& words = choices.words;
    std::string text;
    for (std::size_t i = 0; i < words.size(); ++i) {
        text += i == 0 ? "" : i + 1 == words.size() ? " or " : ", ";
        text += toml_string(words[i]);
    }
    return text;
}

std::string to_text(const IntegerRange& range) {
    return range.max == std::numeric_limits<std::int64_t>::max()
               ? fmt::format("at least {}", range.min)
               : fmt::format("between {} and {}", range.min, range.max);
}

}  // namespace fusionllm::detail
