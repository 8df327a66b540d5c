#pragma once

#include <string>

#include "fusionllm/cost/workload.hpp"
#include "fusionllm/plan/plan.hpp"

namespace fusionllm {

/*
 * Planners: functions to a `Placement`, contiguous in canonical order, one
 * stage a device in the given device order, no stage empty. Throw `InputError`
 * when there are more devices than ops.
 */

//! As many ops in every stage.
Placement partition_equal_ops(const OpGraph& graph,
                              const Workload& workload,
                              const Topology& topology);

/*!
 * Flops in proportion to the speed of the devices: minimises the largest
 * stage time sum(flops)/flops_per_s exactly (dynamic programming, or a search
 * on the bound). Ties: earliest cuts.
 */
Placement partition_equal_flops(const OpGraph& graph,
                                const Workload& workload,
                                const Topology& topology);

//! By the name an input uses: "equal_ops", "equal_flops".
Placement partition(const std::string& name,
                    const OpGraph& graph,
                    const Workload& workload,
                    const Topology& topology);

}  // namespace fusionllm
