#pragma once

#include <vector>

#include <fmt/format.h>

#include "fusionllm/graph/graph_builder.hpp"

namespace fusionllm::test {

//! Eleven ops, of which the third and the sixth are one batch norm: eight
//! stages.
inline OpGraph make_shared_norm() {
    GraphBuilder graph("shared");
    const TensorType type{DType::f32, {8, 4}};
    const TensorType row{DType::f32, {4}};
    const Initializer zeros{Initializer::Kind::zeros, 0};
    ValueId x = graph.add_parameter("w", type, zeros);
    const ValueId mean = graph.add_buffer("mean", row, zeros);
    const ValueId variance = graph.add_buffer("variance", row, zeros);
    for (int i = 0; i < 10; ++i) {
        const bool is_norm = i == 2 || i == 5;
        std::vector<Argument> arguments{x};
        if (is_norm) {
            arguments = {x,
                         NoArgument{},
                         NoArgument{},
                         mean,
                         variance,
                         true,
                         0.1,
                         1e-5,
                         false};
        }
        x = graph.add_op(fmt::format("op.{}", i),
                         is_norm ? "aten::batch_norm" : "aten::relu",
                         arguments,
                         type);
    }
    graph.set_loss(graph.add_op("loss", "aten::sum", {x}, {DType::f32, {}}));
    return graph.build();
}

}  // namespace fusionllm::test
