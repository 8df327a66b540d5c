#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fusionllm/cost/workload.hpp"
#include "fusionllm/graph/graph_builder.hpp"

namespace fusionllm::test {

inline TensorType f32(std::vector<std::int64_t> sizes) {
    return {DType::f32, std::move(sizes)};
}

inline TensorType i64(std::vector<std::int64_t> sizes) {
    return {DType::i64, std::move(sizes)};
}

//! Cost of the op of that name.
inline OpCost cost_of(const OpGraph& graph, std::string_view name) {
    const Workload workload = estimate_workload(graph);
    for (std::size_t i = 0; i < workload.ops.size(); ++i) {
        if (graph.ops()[i].name == name) {
            return workload.ops[i];
        }
    }
    throw Error("no such op");
}

/*!
 * One op under test, `z`, made from values that have gradients or not; its
 * first output goes into the loss.
 */
class OneOp {
public:
    //! A value with a gradient: a parameter times an input, so not a parameter.
    ValueId trained(std::vector<std::int64_t> sizes) {
        const ValueId w = parameter(sizes);
        const ValueId x = input(f32(sizes));
        return graph_.add_op(
            next_name(), "aten::add.Tensor", {w, x}, f32(sizes));
    }
    ValueId parameter(std::vector<std::int64_t> sizes) {
        return graph_.add_parameter(
            next_name(), f32(std::move(sizes)), {Initializer::Kind::ones, 0});
    }
    //! A value without a gradient.
    ValueId input(TensorType type) {
        return graph_.add_input(next_name(), std::move(type));
    }

    OpCost cost(std::string_view target,
                std::vector<Argument> arguments,
                std::vector<TensorType> outputs) {
        const auto made = graph_.add_op_with_outputs(
            "z", target, std::move(arguments), outputs);
        graph_.set_loss(
            graph_.add_op("loss", "aten::sum", {made.front()}, f32({})));
        return cost_of(graph_.build(), "z");
    }

private:
    std::string next_name() { return "v" + std::to_string(num_values_++); }

    GraphBuilder graph_{"one_op"};
    int num_values_ = 0;
};

using Ints = std::vector<std::int64_t>;

}  // namespace fusionllm::test
