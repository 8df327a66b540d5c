#pragma once

#include <string>
#include <vector>

#include "fusionllm/cost/workload.hpp"
#include "fusionllm/plan/partition.hpp"
#include "fusionllm/plan/plan.hpp"

namespace fusionllm {

/*!
 * The device groups of the topology (`find_device_groups`), named after their
 * sites: "lyon", "lyon+graz" for devices of both, "lyon.1", "lyon.2" where a
 * site has several groups.
 */
std::vector<DeviceGroup> make_groups(const Topology& topology);

//! A plan for a placement, checked; `in_flight` as in `Plan`.
Plan assemble_plan(const OpGraph& graph,
                   const Topology& topology,
                   const Placement& placement,
                   const std::string& schedule_name,
                   int micro_batches,
                   const std::vector<int>& in_flight);

/*!
 * The plan of a named partition, devices in their order, with a named schedule,
 * without a look at other ones (`choose_plan` compares). Throws `InputError`
 * for unknown names and when the ops, devices and micro-batches do not fit
 * together.
 */
Plan make_plan(const OpGraph& graph,
               const Workload& workload,
               const Topology& topology,
               const std::string& partition_name,
               const std::string& schedule_name,
               int micro_batches);

//! What a planner assumes for a schedule: "gpipe" in sweeps with all in flight,
//! others interleaved with a micro-batch a stage to the end.
PlannerOptions planner_options(const std::string& schedule_name,
                               int micro_batches);

}  // namespace fusionllm
