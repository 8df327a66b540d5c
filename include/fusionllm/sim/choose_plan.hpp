#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusionllm/plan/compression.hpp"
#include "fusionllm/plan/partition.hpp"
#include "fusionllm/plan/plan.hpp"
#include "fusionllm/sim/timeline.hpp"

namespace fusionllm {

//! What is asked of a plan.
struct PlanRequest {
    std::string partition = "op_fence";
    //! "gpipe", "1f1b" (the classic depth), "1f1b_deep" (as deep as links need
    //! and memory allows) or "auto" (the fastest of them).
    std::string schedule = "1f1b";
    int micro_batches = 1;
    DeviceOrder device_order = DeviceOrder::given;
    std::uint64_t seed = 1;
    DeviceUse use = DeviceUse::any;  //!< of "op_fence"
    CompressionOptions compression{};
    //! "off", "on", or "auto": where that makes it fit, or a shorter step.
    std::string recompute = "off";

    friend bool operator==(const PlanRequest&, const PlanRequest&) = default;
};

//! The names that `PlanRequest::schedule` takes.
const std::vector<std::string>& schedule_request_names();
//! The names that `PlanRequest::recompute` takes.
const std::vector<std::string>& recompute_request_names();

//! A plan and the step that it promises.
struct PlannedStep {
    Plan plan;
    StepCosts costs;
    Timeline timeline;
};

/*!
 * The plan of least simulated step time for a request, among the placements of
 * its partition and the schedules that it allows, memory respected.
 *
 * "op_fence" looks at its placements for each kind of schedule and at all
 * baselines, under each schedule, then moves cuts of the best while the
 * simulator says that this helps; so it is never slower than a baseline with
 * any of the schedules.
 *
 * Placements are made, and simulated, with the fences that the rule of
 * `compression` gives them; of plans of about the same step time that of less
 * error is taken (`FenceRule::price`). Where the rule has a target, they are
 * dense if that is as fast, and compressed so far that latencies are hidden,
 * too, only if the step gains by it. Up to 64 devices the search also begins
 * at the best dense plan, and where the rule weighs errors, at plans for which
 * they cost less or more; of plans that searches ended with and that are within
 * 1% of the best (step times price) the one of least errors is taken. So it is
 * never slower than the best dense plan by more than that.
 *
 * With recompute "auto" the plan without recompute is taken unless the one with
 * it promises a shorter step (memory may allow it more devices' work in flight,
 * or fewer devices), or it alone fits. The model's own recompute is not looked
 * at. Devices that cannot run every op (`CostModel::op_support`) are left out,
 * even if all are to be used, where that is the only way.
 *
 * Throws `InputError` for unknown names, and when nothing fits: which stage
 * needs what, which op cannot be run, and what to try.
 */
PlannedStep choose_plan(const OpGraph& graph,
                        const CostModel& model,
                        const Topology& topology,
                        const PlanRequest& request);

//! The step that a given plan promises, with its recompute.
PlannedStep simulate_plan(const Plan& plan, const CostModel& model);

}  // namespace fusionllm
