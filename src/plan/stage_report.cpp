#include "fusionllm/plan/stage_report.hpp"

#include <algorithm>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"
#include "fusionllm/util/units.hpp"

namespace fusionllm {
namespace {

std::vector<std::string> make_row(const std::string& number,
                                  const StageReport& stage) {
    return {number,
            stage.device,
            stage.group,
            fmt::format("{}", stage.num_ops),
            stage.first_op,
            format_count(static_cast<double>(stage.parameters)),
            format_count(stage.flops),
            format_bytes(stage.memory_bytes),
            format_seconds(stage.compute_s),
            format_bytes(stage.send_bytes)};
}

//! Whether the device has the memory, or nobody knows.
bool fits(const StageReport& stage, double memory_bytes) {
    return stage.device_memory_bytes <= 0 ||
           memory_bytes <= stage.device_memory_bytes;
}

}  // namespace

std::vector<StageReport> report_stages(const Plan& plan,
                                       const OpGraph& graph,
                                       const CostModel& any_model,
                                       const Topology& topology) {
    const CostModel model = any_model.with(plan.recompute);
    const CostModel recomputed = any_model.with(Recompute::on);
    const Schedule schedule = make_schedule(plan);
    const StepCosts costs = model.step_costs(plan.placement, plan.fences);
    std::vector<StageReport> reports;
    for (std::size_t s = 0; s < plan.placement.stages.size(); ++s) {
        const StagePlacement& stage = plan.placement.stages[s];
        const DeviceId device = stage.devices.at(0);
        const int in_flight =
            peak_in_flight(schedule, StageId(static_cast<std::uint32_t>(s)));
        StageReport report;
        report.device = topology.devices.at(device.get()).name;
        report.group = plan.groups[find_group(plan, device)].name;
        report.num_ops = stage.ops.size();
        report.first_op = graph.ops().at(stage.ops.begin).name;
        report.parameters = model.parameters(stage.ops);
        report.flops = plan.micro_batches * model.flops(stage.ops);
        report.in_flight = in_flight;
        report.memory_bytes = model.memory_bytes(stage.ops, in_flight);
        report.recomputed_memory_bytes =
            recomputed.memory_bytes(stage.ops, in_flight);
        report.device_memory_bytes = topology.kind_of(device).memory_bytes;
        report.compute_s = plan.micro_batches * (costs.stages[s].forward_s +
                                                 costs.stages[s].backward_s);
        report.send_bytes =
            s < costs.forward.size() ? costs.forward[s].bytes_of(0) : 0;
        reports.push_back(std::move(report));
    }
    return reports;
}

std::string find_memory_problem(const std::vector<StageReport>& stages) {
    const bool would_fit =
        std::ranges::all_of(stages, [](const StageReport& stage) {
            return fits(stage, stage.recomputed_memory_bytes);
        });
    for (std::size_t s = 0; s < stages.size(); ++s) {
        const StageReport& stage = stages[s];
        if (!fits(stage, stage.memory_bytes)) {
            return fmt::format(
                "stage {} needs {} with {} micro-batches in flight, device "
                "'{}' has {}; try the partition \"op_fence\", the schedule "
                "\"1f1b\", more micro-batches (train.micro_batches), or a "
                "smaller train.batch{}",
                s,
                format_bytes(stage.memory_bytes),
                stage.in_flight,
                stage.device,
                format_bytes(stage.device_memory_bytes),
                would_fit ? "; it fits with train.recompute=on" : "");
        }
    }
    return "";
}

std::string to_table(const std::vector<StageReport>& stages) {
    const std::vector<std::string> head = {"stage",
                                           "device",
                                           "group",
                                           "ops",
                                           "first op",
                                           "parameters",
                                           "flop/step",
                                           "memory",
                                           "compute/step",
                                           "send/micro-batch"};
    std::vector<std::vector<std::string>> rows;
    StageReport sum;
    for (std::size_t s = 0; s < stages.size(); ++s) {
        const StageReport& stage = stages[s];
        rows.push_back(make_row(fmt::format("{}", s), stage));
        sum.num_ops += stage.num_ops;
        sum.parameters += stage.parameters;
        sum.flops += stage.flops;
        sum.memory_bytes += stage.memory_bytes;
        sum.compute_s += stage.compute_s;
        sum.send_bytes += stage.send_bytes;
    }
    rows.push_back(make_row("sum", sum));
    return format_table(head, rows);
}

}  // namespace fusionllm
