#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace fusionllm {

//! What of a run is traced: activations and gradients at the stages' bounds.
struct TraceOptions {
    /*!
     * Names of boundary values; "h.1" stands for all that begin with "h.1."
     * too, "all" for every one. Empty: nothing is traced.
     */
    std::vector<std::string> values;
    //! First and last step, counted from 1 as in the log; empty: all steps.
    std::vector<std::int64_t> steps;
    //! Steps from one traced step to the next.
    std::int64_t every = 100;
    //! The first so many of a step.
    std::int64_t micro_batches = 1;
    //! Empty: in the run's folder; see `trace_file`.
    std::filesystem::path file;

    friend bool operator==(const TraceOptions&, const TraceOptions&) = default;
};

//! Whether anything of a step, counted from 1, is traced.
bool is_traced_step(const TraceOptions& options, std::int64_t step);

/*!
 * Whether a boundary value and its gradient are traced in a micro-batch
 * (counted from 0) of a step (counted from 1).
 */
bool is_traced(const TraceOptions& options,
               std::string_view value,
               std::int64_t step,
               std::int64_t micro_batch);

/*!
 * Each of the options' values must be among the names, those of all boundary
 * values of the plan; throws `InputError` that says which there are.
 */
void check_trace_values(const TraceOptions& options,
                        const std::vector<std::string>& names);

/*!
 * The file of one stage: FILE with "-stage-N" before its extension, where FILE
 * is the options' or OUTPUT/traces/trace.h5.
 */
std::filesystem::path trace_file(const TraceOptions& options,
                                 const std::filesystem::path& output,
                                 std::size_t stage);

}  // namespace fusionllm
