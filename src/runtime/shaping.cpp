#include "fusionllm/runtime/shaping.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include <fmt/ranges.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"
#include "fusionllm/util/units.hpp"

namespace fusionllm {
namespace {

//! What a text of `ShapeOptions::changes` says.
struct NamedChange {
    std::string line;
    double factor = 1;
    double begin_s = 0;
    double end_s = std::numeric_limits<double>::infinity();
};

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
    const auto read = std::from_chars(word.data() + 1, end, factor);
    if (word.front() != 'x' || read.ptr != end || !(factor >= 0) ||
        factor > 1) {
        refuse(text,
               fmt::format("has '{}' where a factor from x0 to x1 "
                           "should be",
                           word));
    }
    return factor;
}

NamedChange parse_change(const std::string& text) {
    const auto at = text.find(" at ");
    const auto space = text.find(' ');
    if (at == std::string::npos || space >= at) {
        refuse(text, "does not say when");
    }
    NamedChange change;
    change.line = text.substr(0, space);
    const std::string factor = text.substr(space + 1, at - space - 1);
    if (factor.size() < 2) {
        refuse(text, "has no factor");
    }
    change.factor = parse_factor(text, factor);
    const std::string times = text.substr(at + 4);
    const auto duration = times.find(" for ");
    change.begin_s = parse_seconds(times.substr(0, duration));
    if (duration != std::string::npos) {
        change.end_s =
            change.begin_s + parse_seconds(times.substr(duration + 5));
    }
    return change;
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

void add_change(const Network& network,
                const std::string& text,
                double time_scale,
                std::vector<LineChange>& changes) {
    const NamedChange named = parse_change(text);
    const std::size_t num_before = changes.size();
    std::vector<std::string> names;
    for (std::size_t i = 0; i < network.num_lines(); ++i) {
        const std::string& name =
            network.line(LineId(static_cast<std::uint32_t>(i))).name;
        names.push_back(name);
        if (name == named.line || is_other_way(name, named.line)) {
            changes.push_back({i,
                               named.begin_s * time_scale,
                               named.end_s * time_scale,
                               named.factor});
        }
    }
    FUSIONLLM_VALIDATE(changes.size() > num_before,
                       "'{}' in [network] changes names line '{}', which the "
                       "topology does not have; its lines: {}",
                       text,
                       named.line,
                       fmt::join(names, ", "));
}

}  // namespace

ShapedLinks make_shaped_links(const Network& network,
                              const std::vector<DeviceId>& device_of_rank,
                              const ShapeOptions& options) {
    ShapedLinks shaped;
    shaped.num_ranks = static_cast<int>(device_of_rank.size());
    shaped.jitter_s = options.jitter_s * options.time_scale;
    shaped.seed = options.seed;
    for (const DeviceId from : device_of_rank) {
        for (const DeviceId to : device_of_rank) {
            const Link link = network.link(from, to);
            ShapedPath path{link.latency_s * options.time_scale,
                            link.bandwidth_bytes_per_s / options.time_scale,
                            {},
                            link.rendezvous_s * options.time_scale,
                            link.eager_bytes};
            for (const LineId line : network.lines(from, to)) {
                path.lines.push_back(line.get());
            }
            shaped.paths.push_back(std::move(path));
        }
    }
    for (std::size_t i = 0; i < network.num_lines(); ++i) {
        shaped.line_bytes_per_s.push_back(
            network.line(LineId(static_cast<std::uint32_t>(i)))
                .bandwidth_bytes_per_s /
            options.time_scale);
    }
    for (const std::string& change : options.changes) {
        add_change(network, change, options.time_scale, shaped.changes);
    }
    return shaped;
}

}  // namespace fusionllm
