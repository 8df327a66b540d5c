#pragma once

#include <string_view>

#include "fusionllm/graph/call.hpp"

namespace fusionllm::detail {

//! Whether "aten::add_" or "aten::__iand__" changes its first tensor.
bool is_in_place(std::string_view target);

/*!
 * The call of the operator that makes a new tensor instead of changing its
 * first one. Throws `InputError` if there is none.
 */
Call make_functional(Call call);

}  // namespace fusionllm::detail
