#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fusionllm/plan/plan.hpp"
#include "fusionllm/runtime/fence_report.hpp"
#include "fusionllm/topology/network.hpp"

#include "app/job.hpp"

namespace fusionllm {

//! What one direction of a fence did in a step, in words.
struct FenceLine {
    FenceReport report;
    std::string value;  //!< its name in the graph
    std::string link;   //!< "lyon-osaka"; "" for a fence inside a stage
    std::string codec;  //!< "int4", "top-k of 3277, int4"
    double element_ratio = 1;
    double byte_ratio = 1;  //!< payloads, without headers
    //! Of the step's messages: seconds that the link would have been busier if
    //! they were dense, less those of encoding and decoding here.
    double saved_s = 0;
};

//! By (cut, value, direction), as the reports are.
std::vector<FenceLine> make_fence_lines(const std::vector<FenceReport>& reports,
                                        const Plan& plan,
                                        const OpGraph& graph,
                                        const Network& network);

//! "forward"
std::string_view name_of(Direction direction);

//! "19% more steps"; prices of errors are known for small ones only.
std::string more_steps_text(double more_steps);

/*!
 * For people: a table, and what the errors in it are taken to cost in steps
 * beside those that were expected of the codecs, with what to do where they
 * cost far more. Empty if there are no fences.
 */
std::string describe_fences(const std::vector<FenceLine>& lines,
                            const Job& job,
                            const CompressionSection& section);

}  // namespace fusionllm
