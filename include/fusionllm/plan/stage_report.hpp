#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusionllm/cost/workload.hpp"
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
    double memory_bytes = 0;
    double compute_s = 0;   //!< a step, on its device
    double send_bytes = 0;  //!< to the next stage, a micro-batch

    friend bool operator==(const StageReport&, const StageReport&) = default;
};

/*!
 * memory = parameters * (4 value + 4 gradient + optimizer state)
 *        + peak in flight * saved bytes + message buffers,
 *
 * where a parameter used by several ops of the stage has a gradient a use (they
 * are summed at the end of the step), and the buffers are two messages of the
 * cut on either side: one that travels and one that is next.
 *
 * \param state_bytes optimizer state of a parameter element: 0, 4 (SGD with
 *        momentum) or 8 (AdamW)
 */
std::vector<StageReport> report_stages(const Plan& plan,
                                       const OpGraph& graph,
                                       const Workload& workload,
                                       const Topology& topology,
                                       double state_bytes);

//! The stages as a table of fixed width, with a head and a sum. Time is summed
//! too: it is the work of a step, not its duration.
std::string to_table(const std::vector<StageReport>& stages);

}  // namespace fusionllm
