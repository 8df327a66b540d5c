#pragma once

#include <cstddef>
#include <optional>
#include <set>

#include "fusionllm/graph/op_graph.hpp"

#include "cost_table.hpp"

namespace fusionllm::detail {

//! One op of a graph with its row of the cost table: flops and bytes.
struct OpCall {
    const OpGraph& graph;
    const Op& op;
    const CostRow& row;

    //! The argument at the position, if it is one value.
    std::optional<ValueId> value(std::size_t position) const;
    //! Some output has a gradient.
    bool has_backward() const;
    bool has_gradient(std::optional<ValueId> id) const;

    double forward_flops() const;
    double backward_flops() const;
    //! Read and written, forward.
    double bytes() const;
    //! Mean and deviation of every row that a norm normalises.
    double stats_bytes() const;

private:
    const TensorType& type(ValueId id) const { return graph.value(id).type; }
    double elements(std::optional<ValueId> id) const;
    double output_elements() const;
    bool is_product() const;
    double inner() const;
    double work_flops() const;
    std::optional<ValueId> bias() const;
    double read_bytes() const;
    double written_bytes() const;
};

}  // namespace fusionllm::detail
