#pragma once

#include <vector>

#include "fusionllm/importers/weight_source.hpp"

#include "script_archive.hpp"
#include "script_operators.hpp"

namespace fusionllm::detail {

/*!
 * Follow the model's `forward` for inputs of these types: calls of modules are
 * taken apart, arithmetic with sizes becomes numbers, and every other call of
 * an operator a node. `weights` gives the values of constants of one number.
 * Throws `InputError` with the line for what cannot be followed.
 */
ExportedProgram trace_script(const ScriptArchive& archive,
                             const WeightSource& weights,
                             const std::vector<TensorType>& inputs);

}  // namespace fusionllm::detail
