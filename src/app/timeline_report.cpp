#include <algorithm>

#include "fusionllm/util/text.hpp"
#include "fusionllm/util/units.hpp"

#include "app/plan_report.hpp"

namespace fusionllm {
namespace {

//! When a stage begins and ends to compute.
struct Extent {
    double begin_s = 0;
    double end_s = 0;
};

std::vector<Extent> stage_extents(const Timeline& timeline) {
    std::vector<Extent> extents(timeline.busy_s.size(),
                                {timeline.makespan_s, 0});
    for (const Span& span : timeline.spans) {
        if (span.kind == Span::Kind::forward ||
            span.kind == Span::Kind::backward ||
            span.kind == Span::Kind::update) {
            Extent& extent = extents.at(span.index);
            extent.begin_s = std::min(extent.begin_s, span.begin_s);
            extent.end_s = std::max(extent.end_s, span.end_s);
        }
    }
    return extents;
}

std::string percent(double seconds, const Timeline& timeline) {
    return fmt::format("{:.0f}%", 100 * seconds / timeline.makespan_s);
}

std::string describe_stages(const PlanReport& report,
                            const Timeline& timeline) {
    const auto extents = stage_extents(timeline);
    std::vector<std::vector<std::string>> rows;
    for (std::size_t s = 0; s < timeline.busy_s.size(); ++s) {
        rows.push_back({fmt::format("{}", s),
                        report.stages[s].device,
                        format_seconds(extents[s].begin_s),
                        format_seconds(extents[s].end_s),
                        format_seconds(timeline.busy_s[s]),
                        percent(timeline.busy_s[s], timeline),
                        fmt::format("{}", report.stages[s].in_flight)});
    }
    return format_table({"stage",
                         "device",
                         "begins",
                         "ends",
                         "computes",
                         "of the step",
                         "in flight"},
                        rows);
}

std::string describe_links(const Timeline& timeline,
                           const Topology& topology,
                           const Network& network) {
    std::vector<std::vector<std::string>> rows;
    for (const LinkUse& use : timeline.links) {
        const Link link = network.link(use.from, use.to);
        rows.push_back({topology.devices[use.from.get()].name,
                        topology.devices[use.to.get()].name,
                        write_bits_per_s(link.bandwidth_bytes_per_s),
                        format_seconds(link.latency_s),
                        format_bytes(use.bytes),
                        format_seconds(use.busy_s),
                        percent(use.busy_s, timeline)});
    }
    return format_table({"link from",
                         "to",
                         "bandwidth",
                         "latency",
                         "bytes",
                         "carries",
                         "of the step"},
                        rows);
}

}  // namespace

std::string describe_timeline(const PlanReport& report,
                              const Job& job,
                              const PlannedStep& step) {
    return describe_stages(report, step.timeline) + "\n" +
           describe_links(step.timeline, job.topology, job.model.network()) +
           "\n" +
           (report.fences.empty() ? ""
                                  : describe_fences(report.fences) + "\n") +
           describe_step(report);
}

}  // namespace fusionllm
