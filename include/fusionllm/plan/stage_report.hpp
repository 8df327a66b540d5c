#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusionllm/plan/cost_model.hpp"
#include "fusionllm/plan/plan.hpp"

namespace fusionllm {

//! One line of the table that a plan is shown as.
struct StageReport {
    std::string device;
    std::string group;
    std::size_t num_ops = 0;
    std::string first_op;
    std::int64_t parameters = 0;  //!< elements
    double flops = 0;             //!< a step, forward and backward
    int in_flight = 0;            //!< micro-batches, at the peak
    double memory_bytes = 0;
    double recomputed_memory_bytes = 0;  //!< the same if it recomputed
    double device_memory_bytes = 0;      //!< 0: not known
    double compute_s = 0;   //!< a step, on its device, encode and decode too
    double send_bytes = 0;  //!< to the next stage, a micro-batch

    friend bool operator==(const StageReport&, const StageReport&) = default;
};

//! One line a stage, with the plan's recompute; memory is that of
//! `CostModel::memory_bytes` with the schedule's peak in flight.
std::vector<StageReport> report_stages(const Plan& plan,
                                       const OpGraph& graph,
                                       const CostModel& model,
                                       const Topology& topology);

//! Names the first stage that does not fit its device and what to try; "" if
//! all fit.
std::string find_memory_problem(const std::vector<StageReport>& stages);

//! The stages as a table of fixed width, with a head and a sum. Time is summed
//! too: it is the work of a step, not its duration.
std::string to_table(const std::vector<StageReport>& stages);

}  // namespace fusionllm
