#include "fusionllm/plan/plan.hpp"

#include <algorithm>
#include <map>

#include "fusionllm/graph/buffer_updates.hpp"
#include "fusionllm/graph/graph_hash.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

//! "ops 3 to 7", "op 3"
std::string name_ops(std::size_t begin, std::size_t end) {
    return end == begin + 1 ? fmt::format("op {}", begin)
                            : fmt::format("ops {} to {}", begin, end - 1);
}

void validate_stage(const OpRange& ops, std::size_t stage, std::size_t from) {
    FUSIONLLM_VALIDATE(ops.begin < ops.end,
                       "stage {} of the plan has no ops ({} up to {}); give it "
                       "at least one or remove the stage",
                       stage,
                       ops.begin,
                       ops.end);
    FUSIONLLM_VALIDATE(
        ops.begin <= from,
        "{} of the graph would be in no stage: stage {} of the plan begins at "
        "op {}; let it begin at {}",
        name_ops(from, ops.begin),
        stage,
        ops.begin,
        from);
    FUSIONLLM_VALIDATE(
        ops.begin >= from,
        "{} of the graph would be in two stages: stage {} of the plan begins "
        "at op {}; let it begin at {}, where the stage before ends",
        name_ops(ops.begin, from),
        stage,
        ops.begin,
        from);
}

void validate_cover(const Placement& placement, std::size_t num_ops) {
    FUSIONLLM_VALIDATE(!placement.stages.empty(),
                       "the plan has no stages; it needs at least one");
    std::size_t from = 0;
    for (std::size_t s = 0; s < placement.stages.size(); ++s) {
        const OpRange& ops = placement.stages[s].ops;
        validate_stage(ops, s, from);
        from = ops.end;
    }
    const std::size_t last = placement.stages.size() - 1;
    FUSIONLLM_VALIDATE(from >= num_ops,
                       "{} of the graph would be in no stage: stage {}, the "
                       "last one, ends at op {}; let it end at {}",
                       name_ops(from, num_ops),
                       last,
                       from,
                       num_ops);
    FUSIONLLM_VALIDATE(from <= num_ops,
                       "stage {} of the plan ends at op {}, but the graph has "
                       "{} ops; let it end at {}",
                       last,
                       from,
                       num_ops,
                       num_ops);
}

void validate_exists(DeviceId device,
                     const std::string& where,
                     std::size_t num_devices) {
    FUSIONLLM_VALIDATE(device.get() < num_devices,
                       "{} of the plan names device {}, but there are {} "
                       "devices (0 to {}); change it or add the device to the "
                       "topology",
                       where,
                       device.get(),
                       num_devices,
                       num_devices == 0 ? 0 : num_devices - 1);
}

void validate_devices(const Placement& placement, std::size_t num_devices) {
    std::map<DeviceId, std::size_t> stage_of;
    for (std::size_t s = 0; s < placement.stages.size(); ++s) {
        const auto& devices = placement.stages[s].devices;
        FUSIONLLM_VALIDATE(devices.size() == 1,
                           "stage {} of the plan is on {} devices; a stage "
                           "runs on exactly one (replicas are not supported "
                           "yet): name one",
                           s,
                           devices.size());
        const DeviceId device = devices.front();
        validate_exists(device, fmt::format("stage {}", s), num_devices);
        const auto [known, is_new] = stage_of.emplace(device, s);
        FUSIONLLM_VALIDATE(is_new,
                           "device {} is given to stage {} and to stage {} of "
                           "the plan; a device runs one stage: merge them or "
                           "name another device",
                           device.get(),
                           known->second,
                           s);
    }
}

void validate_groups(const std::vector<DeviceGroup>& groups,
                     std::size_t num_devices) {
    std::vector<const DeviceGroup*> group_of(num_devices, nullptr);
    for (const DeviceGroup& group : groups) {
        FUSIONLLM_VALIDATE(!group.devices.empty(),
                           "group '{}' of the plan has no devices; remove it",
                           group.name);
        for (const DeviceId device : group.devices) {
            validate_exists(
                device, fmt::format("group '{}'", group.name), num_devices);
            const auto*& known = group_of[device.get()];
            FUSIONLLM_VALIDATE(
                known == nullptr,
                "device {} is in group '{}' and again in group '{}' of the "
                "plan; a device belongs to one group: name it once",
                device.get(),
                known->name,
                group.name);
            known = &group;
        }
    }
    const auto lost = std::ranges::find(group_of, nullptr);
    FUSIONLLM_VALIDATE(lost == group_of.end(),
                       "device {} is in no group of the plan; every device "
                       "belongs to one: add it to a group line",
                       lost - group_of.begin());
}

}  // namespace

void validate(const Plan& plan, const OpGraph& graph, std::size_t num_devices) {
    FUSIONLLM_VALIDATE(is_graph_hash(plan.graph_hash, graph),
                       "the plan is for graph {:016x}, but this model is graph "
                       "{:016x}: its ops or sizes are others; make a new plan",
                       plan.graph_hash,
                       graph_hash(graph));
    validate_cover(plan.placement, graph.ops().size());
    validate_devices(plan.placement, num_devices);
    validate_groups(plan.groups, num_devices);
    validate(plan.fences, graph);
    std::vector<std::size_t> cuts;
    for (const StagePlacement& stage : plan.placement.stages) {
        cuts.push_back(stage.ops.end);
    }
    check_buffer_updates(graph, cuts);
    make_schedule(plan);
}

Schedule make_schedule(const Plan& plan) {
    const auto num_stages = plan.placement.stages.size();
    Schedule schedule = make_schedule(
        plan.schedule, static_cast<int>(num_stages), plan.micro_batches);
    if (!plan.in_flight.empty()) {
        FUSIONLLM_VALIDATE(plan.schedule == "1f1b",
                           "the plan's in_flight goes with the schedule 1f1b, "
                           "not with {}; change the one or remove the other",
                           plan.schedule);
        FUSIONLLM_VALIDATE(plan.in_flight.size() == num_stages,
                           "the plan's in_flight has {} numbers, but there are "
                           "{} stages; give a number a stage",
                           plan.in_flight.size(),
                           num_stages);
        schedule = make_1f1b(plan.in_flight, plan.micro_batches);
    }
    check(schedule);
    return schedule;
}

int find_group(const Plan& plan, DeviceId device) {
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        const auto& devices = plan.groups[g].devices;
        if (std::ranges::find(devices, device) != devices.end()) {
            return static_cast<int>(g);
        }
    }
    throw InputError(fmt::format(
        "device {} is in no group of the plan; add it to a group line",
        device.get()));
}

}  // namespace fusionllm
