#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "fusionllm/cost/workload.hpp"
#include "fusionllm/data/text.hpp"
#include "fusionllm/plan/cost_model.hpp"
#include "fusionllm/plan/plan.hpp"

#include "app/run_input.hpp"

namespace fusionllm {

//! What an input comes to: model, its costs, devices and the plan for them.
struct Job {
    OpGraph graph;
    Workload workload;
    Topology topology;
    Plan plan;
};

//! Time and memory of any stage of the job.
CostModel make_cost_model(const RunInput& input, const Job& job);

//! Devices of the input's sites, or equal ones for `num_ranks`, or just one.
Topology make_job_topology(const RunInput& input, std::optional<int> num_ranks);

//! Throws `InputError` when model, devices and plan do not fit together.
Job make_job(const RunInput& input, std::optional<int> num_ranks);

//! Reads the files, or makes the data up.
DatasetSplit load_data(const RunInput& input);

}  // namespace fusionllm
