#pragma once

#include <vector>

#include "fusionllm/graph/call.hpp"

namespace fusionllm::detail {

/*!
 * Write the ops of one call that changes nothing in place, after replacing what
 * LibTorch 1.13 lacks and what depends on strides (`view` becomes `reshape`).
 * One value per output of the call. Throws `InputError`.
 */
std::vector<ValueId> write_call(Call call, OpWriter& writer);

}  // namespace fusionllm::detail
