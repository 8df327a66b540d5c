#pragma once

#include <string>
#include <vector>

#include "fusionllm/cost/workload.hpp"
#include "fusionllm/plan/plan.hpp"

namespace fusionllm {

/*
 * Planners: functions to a `Placement`, contiguous in canonical order, one
 * stage a device in the given device order, no stage empty. Throw `InputError`
 * when there are more devices than ops.
 */

//! As many ops in every stage; cut k is before op floor(k n / S).
Placement partition_equal_ops(const OpGraph& graph,
                              const Workload& workload,
                              const Topology& topology);

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
Placement partition_equal_flops(const OpGraph& graph,
                                const Workload& workload,
                                const Topology& topology);

//! The names that `partition` knows: "equal_flops", "equal_ops".
const std::vector<std::string>& partition_names();

//! By the name an input uses; `InputError` with the nearest one if unknown.
Placement partition(const std::string& name,
                    const OpGraph& graph,
                    const Workload& workload,
                    const Topology& topology);

}  // namespace fusionllm
