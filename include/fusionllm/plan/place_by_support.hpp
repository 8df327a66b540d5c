#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fusionllm/plan/contiguous_partition.hpp"
#include "fusionllm/plan/op_support.hpp"

namespace fusionllm {

/*!
 * A placement in which every device can run its ops; memory and speed are not
 * looked at. None if there is none, or if there are too many ways to look at.
 *
 * Exact: for each choice of a number of devices of each software, all positions
 * that so many stages can reach.
 *
 * \param devices each once; of one software those that come first are taken
 */
std::optional<Placement> place_by_support(const CostModel& model,
                                          const std::vector<DeviceId>& devices,
                                          DeviceUse use);

/*!
 * Why the devices cannot run the graph, in a sentence: an op that none of them
 * can run, or ops that they cannot share out because stages are contiguous. ""
 * if there is a way, all devices used or not.
 */
std::string find_support_problem(const CostModel& model,
                                 const OpGraph& graph,
                                 const Topology& topology);

//! The first op that is on a device which cannot run it, which ones can, and
//! what to try; "" if there is none.
std::string find_support_problem(const Placement& placement,
                                 const CostModel& model,
                                 const OpGraph& graph,
                                 const Topology& topology);

}  // namespace fusionllm
