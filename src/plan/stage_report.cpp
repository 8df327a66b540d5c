#include "fusionllm/plan/stage_report.hpp"

#include <set>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"
#include "fusionllm/util/units.hpp"

namespace fusionllm {
namespace {

double cut_bytes(const OpGraph& graph, const std::vector<ValueId>& values) {
    double bytes = 0;
    for (const ValueId id : values) {
        bytes += static_cast<double>(num_bytes(graph.value(id).type));
    }
    return bytes;
}

//! What the parameters of a stage are, and the memory they take.
struct ParameterSum {
    std::int64_t elements = 0;
    double bytes = 0;
};

ParameterSum sum_parameters(const OpGraph& graph,
                            const StageSlice& slice,
                            double state_bytes) {
    ParameterSum sum;
    std::set<std::size_t> seen;
    for (const ParameterUse& use : slice.parameter_uses) {
        const auto& parameter = graph.signature().parameters[use.parameter];
        const TensorType& type = graph.value(parameter.value).type;
        sum.bytes += static_cast<double>(num_bytes(type));  // gradient
        if (seen.insert(use.parameter).second) {
            const std::int64_t elements = num_elements(type);
            sum.elements += elements;
            sum.bytes += static_cast<double>(num_bytes(type)) +
                         static_cast<double>(elements) * state_bytes;
        }
    }
    return sum;
}

StageReport report_stage(const Plan& plan,
                         const OpGraph& graph,
                         const Workload& workload,
                         const Topology& topology,
                         std::size_t index) {
    const StagePlacement& stage = plan.placement.stages[index];
    const DeviceId id = stage.devices.at(0);
    const Device& device = topology.devices.at(id.get());
    StageReport report;
    report.device = device.name;
    report.group = plan.groups[find_group(plan, id)].name;
    report.num_ops = stage.ops.size();
    report.first_op = graph.ops().at(stage.ops.begin).name;
    for (std::size_t i = stage.ops.begin; i < stage.ops.end; ++i) {
        const OpCost& cost = workload.ops.at(i);
        report.flops += cost.forward_flops + cost.backward_flops;
        report.memory_bytes += cost.saved_bytes;
    }
    report.flops *= plan.micro_batches;
    report.compute_s = report.flops / topology.kind_of(id).flops_per_s;
    return report;
}

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

}  // namespace

std::vector<StageReport> report_stages(const Plan& plan,
                                       const OpGraph& graph,
                                       const Workload& workload,
                                       const Topology& topology,
                                       double state_bytes) {
    FUSIONLLM_EXPECTS(workload.ops.size() == graph.ops().size());
    const Schedule schedule = make_schedule(plan);
    std::vector<StageReport> reports;
    for (std::size_t s = 0; s < plan.placement.stages.size(); ++s) {
        const StageSlice slice =
            make_slice(graph, plan.placement.stages[s].ops);
        StageReport report = report_stage(plan, graph, workload, topology, s);
        const ParameterSum parameters =
            sum_parameters(graph, slice, state_bytes);
        report.parameters = parameters.elements;
        report.send_bytes = cut_bytes(graph, slice.outputs);
        // So far it is what one micro-batch keeps.
        report.memory_bytes *=
            peak_in_flight(schedule, StageId(static_cast<std::uint32_t>(s)));
        report.memory_bytes +=
            parameters.bytes +
            2 * (cut_bytes(graph, slice.inputs) + report.send_bytes);
        reports.push_back(std::move(report));
    }
    return reports;
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
