#pragma once

#include <string>
#include <vector>

#include "fusionllm/cost/workload.hpp"
#include "fusionllm/plan/plan.hpp"

namespace fusionllm {

//! The sites of the topology, in order of first appearance, as groups.
std::vector<DeviceGroup> make_groups(const Topology& topology);

/*!
 * The plan of a run: the named partition over the devices in their order, the
 * named schedule, a group a site. Throws `InputError` for unknown names and
 * when the ops, devices and micro-batches do not fit together.
 */
Plan make_plan(const OpGraph& graph,
               const Workload& workload,
               const Topology& topology,
               const std::string& partition_name,
               const std::string& schedule_name,
               int micro_batches);

}  // namespace fusionllm
