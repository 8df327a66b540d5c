#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "fusionllm/runtime/traced_value.hpp"

#include "app/job.hpp"

namespace fusionllm {

/*!
 * Throws `InputError` unless what [trace] names are f32 values that the plan's
 * stages send to each other.
 */
void check_trace(const RunInput& input, const Job& job);

//! What writes the traced values of a stage to its file, on the main thread.
std::function<void(std::int64_t step, const std::vector<TracedValue>&)>
make_trace_hook(const RunInput& input,
                const Job& job,
                std::size_t stage,
                std::int64_t start_step);

}  // namespace fusionllm
