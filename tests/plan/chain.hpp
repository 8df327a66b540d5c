#pragma once

#include <fmt/format.h>

#include "fusionllm/graph/graph_builder.hpp"

namespace fusionllm::test {

//! x (4) -> relu -> relu ... -> sum = loss: `num_ops` ops, one value a cut.
inline OpGraph make_chain(int num_ops) {
    const TensorType type{DType::f32, {4}};
    GraphBuilder graph("chain");
    ValueId x =
        graph.add_parameter("w", type, {Initializer::Kind::normal, 0.02});
    for (int i = 0; i + 1 < num_ops; ++i) {
        x = graph.add_op(fmt::format("relu.{}", i), "aten::relu", {x}, type);
    }
    graph.set_loss(graph.add_op("loss", "aten::sum", {x}, {DType::f32, {}}));
    return graph.build();
}

}  // namespace fusionllm::test
