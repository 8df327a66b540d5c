#include "fusionllm/sim/bottleneck.hpp"

#include <algorithm>
#include <numeric>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

//! "link lyon-osaka", "uplink of lyon"
std::string name_of(const Line& line) {
    const bool is_a_kind_of_link =
        line.name.starts_with("uplink") || line.name.starts_with("downlink");
    return is_a_kind_of_link ? line.name : "link " + line.name;
}

double share_of(double seconds, const Timeline& timeline) {
    return timeline.makespan_s > 0 ? seconds / timeline.makespan_s : 0;
}

}  // namespace

double bubble(const Timeline& timeline) {
    const double busy_s =
        std::accumulate(timeline.busy_s.begin(), timeline.busy_s.end(), 0.0);
    const double all_s =
        timeline.makespan_s * static_cast<double>(timeline.busy_s.size());
    return all_s > 0 ? 1 - busy_s / all_s : 0;
}

std::optional<Bottleneck> find_busiest_link(const Timeline& timeline,
                                            const Network& network) {
    std::vector<double> line_bytes(network.num_lines(), 0);
    for (const LinkUse& use : timeline.links) {
        for (const LineId line : network.lines(use.from, use.to)) {
            line_bytes[line.get()] += use.bytes;
        }
    }
    std::optional<Bottleneck> busiest;
    double most_s = 0;
    const auto consider = [&](double seconds, const auto& name) {
        if (!busiest || seconds > most_s) {
            most_s = seconds;
            busiest = Bottleneck{name(), share_of(seconds, timeline)};
        }
    };
    for (std::uint32_t i = 0; i < line_bytes.size(); ++i) {
        const Line& line = network.line(LineId(i));
        if (line_bytes[i] > 0) {
            consider(line_bytes[i] / line.bandwidth_bytes_per_s,
                     [&] { return name_of(line); });
        }
    }
    for (const LinkUse& use : timeline.links) {
        const Link link = network.link(use.from, use.to);
        consider(use.bytes / link.bandwidth_bytes_per_s,
                 [&] { return "link " + network.name(use.from, use.to); });
    }
    return busiest;
}

Bottleneck find_bottleneck(const Timeline& timeline,
                           const Network& network,
                           const std::vector<std::string>& stage_devices) {
    FUSIONLLM_EXPECTS(stage_devices.size() == timeline.busy_s.size() &&
                      !stage_devices.empty());
    const auto busiest = std::ranges::max_element(timeline.busy_s);
    const auto stage =
        static_cast<std::size_t>(busiest - timeline.busy_s.begin());
    const Bottleneck computing{
        fmt::format("stage {} on {}", stage, stage_devices.at(stage)),
        share_of(*busiest, timeline)};
    const auto link = find_busiest_link(timeline, network);
    return link && link->share > computing.share ? *link : computing;
}

}  // namespace fusionllm
