#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusionllm/plan/contiguous_partition.hpp"
#include "fusionllm/plan/cost_model.hpp"
#include "fusionllm/plan/fence_rule.hpp"

namespace fusionllm {

//! In which order baselines take the devices; "random" depends on the seed.
enum class DeviceOrder { given, random };

//! What a planner may want to know.
struct PlannerOptions {
    int micro_batches = 1;
    Objective objective = Objective::interleaved;
    MemoryNeed memory = MemoryNeed::stages_from_here;
    DeviceOrder device_order = DeviceOrder::given;
    std::uint64_t seed = 1;
    DeviceUse use = DeviceUse::any;
    //! Compresses what crosses between stages; none: all is dense.
    const FenceRule* rule = nullptr;

    friend bool operator==(const PlannerOptions&,
                           const PlannerOptions&) = default;
};

/*
 * Planners: functions to a `Placement`, contiguous in canonical order, no stage
 * empty. The first three are baselines: one stage a device in the given or a
 * random order of devices, blind to links and to what fits, their cuts moved to
 * the nearest places where the graph can be cut; they throw `InputError` when
 * there are more devices than stages can be.
 */

//! Throws `InputError` unless there are devices, and a stage for each of them.
void check_devices(const CostModel& model);

//! As many ops in every stage; cut k is before op floor(k n / S).
Placement place_equal_ops(const CostModel& model,
                          const PlannerOptions& options);

/*!
 * Flops in proportion to the speed of the devices: minimises the largest stage
 * time sum(forward + backward flops)/flops_per_s, exactly. Ties: of all optimal
 * placements the one whose list of cuts is the least, lexicographically.
 *
 * Bisection on the bound; whether n ops fit S devices under one is found in
 * O(n S), and it takes some 30 of them. (Dynamic programming with monotone
 * splits would be wrong: since no stage is empty, fewer ops can need more time
 * on slow devices.)
 */
Placement place_equal_flops(const CostModel& model,
                            const PlannerOptions& options);

//! The same with what ops keep (parameters, gradients, optimizer state, saved
//! values) in proportion to the memory of the devices; equal if not known.
Placement place_equal_memory(const CostModel& model,
                             const PlannerOptions& options);

/*!
 * OP-Fence: groups of devices by bandwidth, a line of groups and of devices in
 * them, the optimal contiguous partition over that line, local search
 * (algorithms.md, section 2; ours where the paper's abstract is silent).
 *
 * Any device may get no op, unless all are to be used. Never worse than a
 * baseline by `analytic_step_s`. Deterministic. Throws `InputError` when the
 * model does not fit the devices.
 */
Placement place_op_fence(const CostModel& model, const PlannerOptions& options);

/*!
 * The best of all placements on all orders of all sets of devices; for tests
 * and small cases. Throws `InputError` when there are more than some 10^7.
 */
Placement place_exhaustive(const CostModel& model,
                           const PlannerOptions& options);

//! The names that `partition` knows, OP-Fence first.
const std::vector<std::string>& partition_names();

//! By the name an input uses; `InputError` with the nearest one if unknown.
Placement partition(const std::string& name,
                    const CostModel& model,
                    const PlannerOptions& options);

//! `analytic_step_s` of the placement with the rule's fences, times their price
//! (`FenceRule::price`); infinite if a
//! stage does not fit its device, or if all devices are to be used and one is
//! not.
double estimate_step_s(const CostModel& model,
                       const Placement& placement,
                       const PlannerOptions& options);

}  // namespace fusionllm
