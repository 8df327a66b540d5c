#include "app/plan_report.hpp"

#include <algorithm>
#include <functional>
#include <set>

#include <fmt/ranges.h>

#include "fusionllm/plan/codec_error.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"
#include "fusionllm/util/units.hpp"

#include "app/fence_table.hpp"

namespace fusionllm {
namespace {

std::vector<std::string> unused_devices(const Plan& plan,
                                        const Topology& topology) {
    std::vector<std::string> names;
    for (std::size_t d = 0; d < topology.devices.size(); ++d) {
        const DeviceId device(static_cast<std::uint32_t>(d));
        const bool is_used = std::ranges::any_of(
            plan.placement.stages,
            [&](const auto& stage) { return stage.devices.at(0) == device; });
        if (!is_used) {
            names.push_back(topology.devices[d].name);
        }
    }
    return names;
}

//! "lyon: 0 1 2 | osaka: 5 4": stages' devices by group, in order.
std::string describe_order(const Plan& plan) {
    std::string text;
    int last = -1;
    for (const StagePlacement& stage : plan.placement.stages) {
        const DeviceId device = stage.devices.at(0);
        const int group = find_group(plan, device);
        if (group != last) {
            text +=
                fmt::format("{}{}:",
                            last < 0 ? "" : " | ",
                            plan.groups[static_cast<std::size_t>(group)].name);
            last = group;
        }
        text += fmt::format(" {}", device.get());
    }
    return text;
}

std::string describe_groups(const Plan& plan, const Network& network) {
    std::vector<std::vector<std::string>> rows;
    for (const DeviceGroup& group : plan.groups) {
        std::vector<double> inside;
        for (const DeviceId a : group.devices) {
            for (const DeviceId b : group.devices) {
                if (a != b) {
                    inside.push_back(network.link(a, b).bandwidth_bytes_per_s);
                }
            }
        }
        std::string slowest = "-";
        if (!inside.empty()) {
            slowest = write_bits_per_s(std::ranges::min(inside));
        }
        rows.push_back(
            {group.name, fmt::format("{}", group.devices.size()), slowest});
    }
    return format_table({"group", "devices", "slowest link inside"}, rows);
}

//! The worst first, each line between sites once.
std::vector<std::string> find_unsure_links(const Timeline& timeline,
                                           const Network& network) {
    constexpr double trusted = 0.15;
    std::set<std::pair<double, std::string>, std::greater<>> found;
    for (const LinkUse& use : timeline.links) {
        const double within = network.link(use.from, use.to).within;
        if (within > trusted) {
            found.emplace(within, network.name(use.from, use.to));
        }
    }
    std::vector<std::string> texts;
    for (const auto& [within, name] : found) {
        texts.push_back(fmt::format("{} within {:.0f}%", name, 100 * within));
    }
    return texts;
}

//! One line, however many there are.
std::string describe_unsure_links(std::vector<std::string> texts) {
    constexpr std::size_t most = 3;
    const std::size_t num = texts.size();
    texts.resize(std::min(num, most));
    return fmt::format(
        "measured badly  {}{}; probe again for a better plan\n",
        fmt::join(texts, ", "),
        num > most ? fmt::format(" and {} more", num - most) : "");
}

std::vector<std::string> part_row(const char* name,
                                  double seconds,
                                  double step_s,
                                  const char* what) {
    return {name,
            format_seconds(seconds),
            fmt::format("{:.0f}%", 100 * seconds / step_s),
            what};
}

}  // namespace

std::vector<std::string> stage_device_names(const Plan& plan,
                                            const Topology& topology) {
    std::vector<std::string> names;
    for (const StagePlacement& stage : plan.placement.stages) {
        names.push_back(topology.devices[stage.devices.at(0).get()].name);
    }
    return names;
}

std::string describe_step(const PlanReport& report) {
    const StepParts& parts = report.parts;
    const double step_s = parts.step_s();
    std::string text = format_table(
        {"predicted step",
         format_seconds(step_s),
         "",
         fmt::format("{:.4g} samples/s", report.samples_per_s)},
        {part_row("  computing", parts.compute_s, step_s, "busiest stage"),
         part_row("  bubble", parts.bubble_s, step_s, "it waits for stages"),
         part_row("  links", parts.links_s, step_s, "it waits for messages"),
         part_row("  exchange",
                  parts.exchange_s,
                  step_s,
                  "gradients of shared parameters")});
    text += fmt::format("\nbubble  {:.0f}% of all stages' time\n",
                        100 * report.bubble) +
            fmt::format("bottleneck  {}, {:.0f}% of the step\n",
                        report.bottleneck.name,
                        100 * report.bottleneck.share);
    if (report.busiest_link &&
        report.busiest_link->name != report.bottleneck.name) {
        text += fmt::format("busiest link  {}, {:.0f}% of the step\n",
                            report.busiest_link->name,
                            100 * report.busiest_link->share);
    }
    if (report.more_steps > 0) {
        text += fmt::format(
            "errors  typical ones of these codecs cost {} to the same loss\n",
            more_steps_text(report.more_steps));
    }
    return text;
}

PlanReport make_plan_report(const RunInput& input,
                            const Job& job,
                            const PlannedStep& step) {
    const Network& network = job.model.network();
    PlanReport report;
    report.stages =
        report_stages(step.plan, job.graph, job.model, job.topology);
    report.parts = split_step(make_schedule(step.plan), step.costs, network);
    report.bottleneck = find_bottleneck(
        step.timeline, network, stage_device_names(step.plan, job.topology));
    report.busiest_link = find_busiest_link(step.timeline, network);
    report.bubble = bubble(step.timeline);
    report.samples_per_s =
        static_cast<double>(input.train.batch) / step.timeline.makespan_s;
    report.ops_by_bytes = ops_without_row(job.graph, job.workload);
    report.unsure_links = find_unsure_links(step.timeline, network);
    report.unused = unused_devices(step.plan, job.topology);
    report.fences = report_fences(job, step.plan);
    report.more_steps = input.compression.options.error_price *
                        ErrorTable(job.graph).squared_errors(step.plan.fences);
    if (!input.plan.file.empty() && input.compression.options.rule != "none") {
        report.note = fmt::format(
            "fences are those of the plan's file; compression.rule = \"{}\" "
            "is not used",
            input.compression.options.rule);
    }
    return report;
}

std::string to_text(const PlanReport& report,
                    const Job& job,
                    const Plan& plan) {
    std::string text = describe_groups(plan, job.model.network()) +
                       "\norder  " + describe_order(plan) + "\n" +
                       (plan.recompute == Recompute::on
                            ? "recompute  on: backward runs forward again\n\n"
                            : "\n") +
                       to_table(report.stages) + "\n";
    if (!report.fences.empty()) {
        text += describe_fences(report.fences) + "\n";
    }
    text += describe_step(report);
    if (!report.note.empty()) {
        text += "note  " + report.note + "\n";
    }
    if (!report.unsure_links.empty()) {
        text += describe_unsure_links(report.unsure_links);
    }
    if (!report.unused.empty()) {
        text += fmt::format("without a stage  {} of {} devices: {}\n",
                            report.unused.size(),
                            job.topology.devices.size(),
                            fmt::join(report.unused, " "));
    }
    if (!report.ops_by_bytes.empty()) {
        text += fmt::format("estimated by their bytes alone  {}\n",
                            fmt::join(report.ops_by_bytes, " "));
    }
    return text;
}

}  // namespace fusionllm
