#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "script_value.hpp"

namespace fusionllm::detail {

//! Which of the operators of one name is meant, and with what.
struct ScriptOperator {
    std::string overload;
    std::vector<NamedArgument> arguments;
    std::vector<std::string> outs;  //!< arguments that take its results
};

/*!
 * The operator "aten::NAME" of this LibTorch that takes these arguments; of
 * several the one that needs the fewest conversions. None if there is none.
 */
std::optional<ScriptOperator> find_script_operator(
    const std::string& target, const ScriptArguments& arguments);

//! Whether there is an operator "aten::NAME", whatever it takes.
bool is_script_operator(const std::string& target);

//! The type of a tensor by name.
using TypeOf = std::function<const TensorType&(const std::string&)>;

struct OperatorTypes {
    std::vector<TensorType> outputs;
    std::string problem;  //!< why there are none; empty: there are
};

/*!
 * What the operator makes of tensors of these types, found by calling it: on
 * tensors without memory where it can, else on zeros, on ones or on identity
 * matrices, for a probability or a matrix to be inverted is not zero. Never
 * throws for arguments that it does not take.
 */
OperatorTypes infer_types(const std::string& target,
                          const ScriptOperator& call,
                          const TypeOf& type_of);

}  // namespace fusionllm::detail
