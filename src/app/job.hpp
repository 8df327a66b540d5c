#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "fusionllm/cost/workload.hpp"
#include "fusionllm/plan/cost_model.hpp"
#include "fusionllm/sim/choose_plan.hpp"

#include "app/load_data.hpp"
#include "app/model.hpp"
#include "app/run_input.hpp"

namespace fusionllm {

//! What an input comes to: a model, what it costs, and the devices.
struct Job {
    OpGraph graph;
    Workload workload;
    Topology topology;
    CostModel model;  //!< time and memory of any stage
    Plan plan;        //!< empty until it is made (`plan_job`) or received
};

/*!
 * The input with its number of micro-batches chosen, if that is left open: of
 * all divisors of the batch the one whose plan promises the shortest step; of
 * the numbers in the plan's file if there is one. A model that is a file has
 * their size; throws `InputError` if [train] says otherwise.
 */
RunInput choose_micro_batches(RunInput input,
                              const ModelSource& source,
                              std::optional<int> num_ranks);

//! Devices of the input's topology, or `num_ranks` equal ones, or just one.
Topology make_job_topology(const RunInput& input, std::optional<int> num_ranks);

//! The job without a plan. Throws `InputError` when model and devices do not
//! fit together; the number of micro-batches must have been chosen.
Job make_job(const RunInput& input,
             const ModelSource& source,
             std::optional<int> num_ranks);

//! What the input asks of a plan.
PlanRequest make_plan_request(const RunInput& input);

/*!
 * The plan of the input's file, or a new one. Throws `InputError` when it does
 * not fit the job, or a stage its device.
 */
PlannedStep plan_job(const RunInput& input, const Job& job);

}  // namespace fusionllm
