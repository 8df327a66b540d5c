#include "fusionllm/runtime/named_change.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/ranges.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"
#include "fusionllm/util/units.hpp"

namespace fusionllm {
namespace {

constexpr std::size_t most_listed = 8;

[[noreturn]] void refuse(const std::string& text, const std::string& why) {
    throw InputError(fmt::format(
        "'{}' in [network] changes {}; write \"lyon-osaka x0.1 at 30 s\", or "
        "\"lyon-osaka x0 at 30 s for 5 s\"",
        text,
        why));
}

double parse_factor(const std::string& text, const std::string& word) {
    double factor = -1;
    const auto* const end = word.data() + word.size();
    const auto* const begin = word.starts_with('x') ? word.data() + 1 : end;
    const auto read = std::from_chars(begin, end, factor);
    if (begin == end || read.ptr != end || !(factor >= 0) || factor > 1) {
        refuse(text,
               fmt::format("has '{}' where a factor from x0 to x1 "
                           "should be",
                           word));
    }
    return factor;
}

double parse_time(const std::string& text, const std::string& time) {
    try {
        return parse_seconds(time);
    } catch (const InputError& error) {
        throw InputError(
            fmt::format("'{}' in [network] changes: {}", text, error.what()));
    }
}

//! "osaka-lyon" of "lyon-osaka", wherever the names are divided.
bool is_other_way(const std::string& line, const std::string& other) {
    for (auto dash = line.find('-'); dash != std::string::npos;
         dash = line.find('-', dash + 1)) {
        if (line.substr(dash + 1) + "-" + line.substr(0, dash) == other) {
            return true;
        }
    }
    return false;
}

//! All of them, or where they are many some and the nearest.
std::string list_lines(const std::vector<std::string>& names,
                       const std::string& wanted) {
    if (names.size() <= most_listed) {
        return fmt::format("{}", fmt::join(names, ", "));
    }
    return fmt::format(
        "{} and {} more{}",
        fmt::join(names.begin(), names.begin() + most_listed, ", "),
        names.size() - most_listed,
        did_you_mean(wanted, names));
}

}  // namespace

NamedChange parse_named_change(const std::string& text) {
    // Names may have " at " in them, and blanks; what follows them has not.
    const auto at = text.rfind(" at ");
    if (at == std::string::npos) {
        refuse(text, "does not say when");
    }
    const std::string what = text.substr(0, at);
    const auto space = what.rfind(' ');
    if (space == std::string::npos) {
        refuse(text, "has no factor");
    }
    NamedChange change;
    change.text = text;
    change.line = trim(what.substr(0, space));
    change.factor = parse_factor(text, what.substr(space + 1));
    if (change.line.empty()) {
        refuse(text, "names no line");
    }
    const std::string times = text.substr(at + 4);
    const auto duration = times.find(" for ");
    change.begin_s = parse_time(text, times.substr(0, duration));
    if (duration != std::string::npos) {
        change.end_s =
            change.begin_s + parse_time(text, times.substr(duration + 5));
    }
    return change;
}

std::vector<LineId> find_lines(const Network& network,
                               const NamedChange& change) {
    std::vector<LineId> found;
    std::vector<std::string> names;
    for (std::uint32_t i = 0; i < network.num_lines(); ++i) {
        const std::string& name = network.line(LineId(i)).name;
        names.push_back(name);
        if (name == change.line || is_other_way(name, change.line)) {
            found.emplace_back(i);
        }
    }
    FUSIONLLM_VALIDATE(!names.empty(),
                       "'{}' in [network] changes names line '{}', but lines "
                       "are between sites, and the topology has one only; "
                       "name its sites in [topology]",
                       change.text,
                       change.line);
    FUSIONLLM_VALIDATE(!found.empty(),
                       "'{}' in [network] changes names line '{}', which the "
                       "topology does not have; its lines: {}",
                       change.text,
                       change.line,
                       list_lines(names, change.line));
    return found;
}

}  // namespace fusionllm
