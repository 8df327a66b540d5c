#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fusionllm/graph/op.hpp"

namespace fusionllm::detail {

//! What an operator wants in one place.
struct OperatorArgument {
    enum class Kind { tensor, integer, integers, other };
    std::string name;
    Kind kind = Kind::other;
    //! None if the argument must be given, or if its default is no constant.
    //! What may be absent is absent by default, as in newer schemas.
    std::optional<Argument> default_value;
};

/*!
 * The arguments of an operator in their order, as this LibTorch declares them;
 * none if it does not have it.
 */
std::optional<std::vector<OperatorArgument>> find_operator(
    const std::string& target, const std::string& overload);

}  // namespace fusionllm::detail
