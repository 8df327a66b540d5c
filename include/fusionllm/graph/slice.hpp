#pragma once

#include <cstddef>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm {

//! Ops [begin, end) of the canonical order.
struct OpRange {
    std::size_t begin = 0;
    std::size_t end = 0;

    std::size_t size() const { return end - begin; }
    friend auto operator<=>(const OpRange&, const OpRange&) = default;
};

/*!
 * Values that cross the cut before op number `cut`, ascending by id.
 *
 * Made by an earlier op, read by a later one: also those that only pass
 * through. Inputs, parameters and
 * buffers never cross: ranks that use them hold them.
 */
std::vector<ValueId> values_across(const OpGraph& graph, std::size_t cut);

//! One use of a parameter by an op; each has its own gradient accumulator.
struct ParameterUse {
    std::size_t parameter;  //!< position in the signature
    OpId op;

    friend auto operator<=>(const ParameterUse&, const ParameterUse&) = default;
};

/*!
 * What one stage needs to know of the graph.
 *
 * A value in both `inputs` and `outputs` is relayed: the stage passes it on,
 * and its gradient starts from the one that comes back.
 */
struct StageSlice {
    OpRange ops;
    std::vector<ValueId> inputs;   //!< boundary values from the stage before
    std::vector<ValueId> outputs;  //!< boundary values to the stage after
    std::vector<ValueId> user_inputs;  //!< graph inputs that its ops read
    std::vector<ParameterUse> parameter_uses;  //!< ascending (op, parameter)
    std::vector<std::size_t>
        buffers;  //!< positions in the signature, ascending

    friend bool operator==(const StageSlice&, const StageSlice&) = default;
};

StageSlice make_slice(const OpGraph& graph, OpRange ops);

//! All uses of a parameter in the graph, in op order.
std::vector<ParameterUse> uses_of_parameter(const OpGraph& graph,
                                            std::size_t parameter);

}  // namespace fusionllm
