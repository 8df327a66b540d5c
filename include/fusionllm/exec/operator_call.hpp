#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm {

//! What of an op decides whether a LibTorch can run it.
struct OperatorCall {
    std::string target;    //!< "aten::add"
    std::string overload;  //!< "Tensor"; often empty
    std::size_t num_arguments = 0;
    //! The last ones are absent (`None`), so that an older operator, which does
    //! not know them, does the same without them.
    std::size_t num_absent = 0;

    friend auto operator<=>(const OperatorCall&, const OperatorCall&) = default;
};

OperatorCall call_of(const Op& op);

//! Every call of the graph once, ascending.
std::vector<OperatorCall> calls_of(const OpGraph& graph);

//! Why this LibTorch cannot run the call: "does not have it", "takes 6
//! arguments, not 8"; "" if it can.
std::string find_call_problem(const OperatorCall& call);

/*!
 * Hash of every operator that this LibTorch has, of its arguments' names and of
 * which can be left out: equal where `find_call_problem` answers alike. 2.5 ms.
 */
std::uint64_t operators_hash();

}  // namespace fusionllm
