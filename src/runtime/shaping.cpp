#include "fusionllm/runtime/shaping.hpp"

#include <utility>

#include "fusionllm/runtime/named_change.hpp"

namespace fusionllm {
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
    for (const std::string& text : options.changes) {
        const NamedChange change = parse_named_change(text);
        for (const LineId line : find_lines(network, change)) {
            shaped.changes.push_back({line.get(),
                                      change.begin_s * options.time_scale,
                                      change.end_s * options.time_scale,
                                      change.factor});
        }
    }
    return shaped;
}

}  // namespace fusionllm
