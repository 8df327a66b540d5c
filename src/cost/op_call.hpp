#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"

#include "cost_table.hpp"

namespace fusionllm::detail {

//! One op of a graph with its row of the cost table.
class OpCall {
public:
    OpCall(const OpGraph& graph, const Op& op, const CostRow& row);

    const OpGraph& graph() const { return graph_; }
    const Op& op() const { return op_; }
    const CostRow& row() const { return row_; }

    //! The argument at the position, if it is one value.
    std::optional<ValueId> value(std::size_t position) const;
    //! Every value that it reads, once each, by number.
    const std::vector<ValueId>& reads() const { return reads_; }
    const TensorType& type(ValueId id) const { return graph_.value(id).type; }
    double bytes(ValueId id) const;
    //! 0 for no value.
    double elements(std::optional<ValueId> id) const;
    //! Of the first output.
    double output_elements() const;

    //! Some output has a gradient.
    bool has_backward() const;
    bool has_gradient(std::optional<ValueId> id) const;
    //! The output shows the first argument's memory; priced apart.
    bool is_view() const;
    //! Its kind, but for a part that is a view.
    OpKind kind() const;
    //! A product of two factors, which has a rule of its own backward.
    bool is_product() const;
    //! The third tensor of a product, which is added to it.
    std::optional<ValueId> bias() const;
    //! A convolution whose weight is (in, out / groups, ...).
    bool is_transposed() const;

private:
    const OpGraph& graph_;
    const Op& op_;
    const CostRow& row_;
    std::vector<ValueId> reads_;
};

//! A multiply-add is two. Forward.
double forward_flops(const OpCall& call);
double backward_flops(const OpCall& call);

double read_bytes(const OpCall& call);
double written_bytes(const OpCall& call);
//! Read and written, forward.
double forward_bytes(const OpCall& call);
//! Read and written, backward: gradients of outputs and of arguments, and what
//! was kept; of a product, for each factor that has a gradient. Then adding
//! the gradients that later users of its arguments gave.
double backward_bytes(const OpCall& call, OpId op);

//! What the op keeps from forward to backward.
struct Kept {
    std::vector<ValueId> values;  //!< that others may keep as well
    double own_bytes = 0;         //!< what only this op has
};
Kept find_kept(const OpCall& call);

}  // namespace fusionllm::detail
