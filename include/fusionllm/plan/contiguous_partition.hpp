#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "fusionllm/plan/cost_model.hpp"
#include "fusionllm/plan/fence_rule.hpp"
#include "fusionllm/plan/step_time.hpp"

namespace fusionllm {

//! How many micro-batches a stage must have room for.
enum class MemoryNeed {
    all_in_flight,    //!< all of them (GPipe)
    stages_from_here  //!< one for each stage from here to the end (1F1B)
};

//! Whether OP-Fence may leave devices without a stage.
enum class DeviceUse {
    any,  //!< where fewer are faster
    all   //!< never: nothing is known of the devices that would justify it
};

//! A partition to find: the ops in order over devices in order.
struct PartitionTask {
    std::vector<DeviceId> order;
    std::vector<std::size_t> cuts;  //!< where stages may end, ascending from 0
                                    //!< to the number of ops, both included
    Objective objective = Objective::interleaved;
    MemoryNeed memory = MemoryNeed::stages_from_here;
    int micro_batches = 1;
    DeviceUse use = DeviceUse::any;
    //! By line of the network: how many links share it; empty: each has it
    //! alone.
    std::vector<double> sharing;
    //! Compresses what crosses between stages; none: all is dense.
    const FenceRule* rule = nullptr;
};

/*!
 * The placement of least `analytic_step_s` (without the end of the step) over
 * the given order of devices and places to cut, memory respected; none if the
 * ops do not fit.
 *
 * For a bound B on every stage and link, the least sum of all terms under B
 * comes from dynamic programming; the answer is the least sum(B) + (M - 1) B.
 * (Minimising B first misses the optimum.) Every term is a difference of prefix
 * sums, so one table takes O(D P (D + W)) for D devices, P places to cut and W
 * of them in a stage. `sweeps` has two bounds, one a direction.
 *
 * Exact on small tasks, where all bounds that matter are tried; on larger ones
 * bounds are 1% apart, runs of more than `max_skip` devices without an op are
 * not looked at, and the memory of 1F1B is that of a pipeline of all devices.
 *
 * With a rule a link has the mildest of some dozen of its codecs that is under
 * the bound, and is not taken if the strongest is not. Encoding counts in the
 * sum, not under the bound; the answer is not exact, then.
 */
std::optional<Placement> partition_contiguous(const CostModel& model,
                                              const PartitionTask& task);

//! Whether `partition_contiguous` tries everything.
bool is_exact(const PartitionTask& task);

//! Every position that can be cut, 0 and the number of ops with them.
std::vector<std::size_t> all_cuts(const CostModel& model);

/*!
 * At most about `max_cuts` positions that are worth a cut: in every stretch of
 * equal compute the one with the least bytes, the first and the last op's too;
 * and the borders of what some devices cannot run.
 */
std::vector<std::size_t> cheap_cuts(const CostModel& model,
                                    std::size_t max_cuts);

}  // namespace fusionllm
