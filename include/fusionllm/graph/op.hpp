#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "fusionllm/util/id.hpp"
#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm {

using OpId = Id<struct Op_>;
using ValueId = Id<struct Value_>;

//! The argument is absent (`None`), e.g. no bias.
struct NoArgument {
    friend bool operator==(const NoArgument&, const NoArgument&) = default;
};

/*!
 * One positional argument of an operator, after its schema.
 *
 * A list of values may have holes (`Tensor?[]`), hence the optional-like
 * variant inside. Trailing arguments that have defaults may be left out.
 */
using ValueOrNone = std::variant<NoArgument, ValueId>;
using Argument = std::variant<NoArgument,
                              ValueId,
                              std::vector<ValueOrNone>,
                              bool,
                              std::int64_t,
                              double,
                              std::string,
                              DType,
                              std::vector<std::int64_t>,
                              std::vector<double>,
                              std::vector<bool>>;

/*!
 * One call of an aten operator, e.g. target "aten::addmm", overload "".
 *
 * Targets outside aten: "fusionllm::dropout_mask"(x, p): a tensor of the type
 * of x with elements 0 or 1/(1-p), drawn from (run seed, step, micro-batch,
 * op name, element), the same on every rank and device; no gradient.
 */
struct Op {
    std::string name;      //!< unique in the graph, e.g. "h.3.attn.softmax"
    std::string target;    //!< e.g. "aten::softmax"
    std::string overload;  //!< e.g. "int"; often empty
    std::vector<Argument> arguments;
    //! One per returned tensor; the elements if the op returns a list.
    std::vector<ValueId> outputs;

    friend bool operator==(const Op&, const Op&) = default;
};

//! A tensor with one producer and any number of users.
struct Value {
    std::string name;  //!< unique in the graph
    TensorType type;

    friend bool operator==(const Value&, const Value&) = default;
};

//! Every value that the op reads, in argument order, repeats included.
std::vector<ValueId> used_values(const Op& op);

}  // namespace fusionllm
