#pragma once

#include <optional>
#include <string_view>

#include "script_value.hpp"

namespace fusionllm::detail {

/*!
 * What an operator ("floor_divide") makes of numbers that are known, as traces
 * compute with sizes. None if an argument is no number, or the operator is not
 * one of those.
 */
std::optional<ScriptValue> compute_numbers(std::string_view name,
                                           const ScriptArguments& arguments);

}  // namespace fusionllm::detail
