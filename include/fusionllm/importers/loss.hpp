#pragma once

#include <string_view>

#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm {

//! A loss for models that give only their output.
enum class LossKind {
    //! Mean over all positions, in nats. Output (N, C), (B, T, C) with the
    //! classes last, or (N, C, H, W); labels i64 of the sizes without C.
    cross_entropy,
    //! Mean of the squared difference; labels f32 of the output's sizes.
    mean_squared_error,
};

//! "cross_entropy" or "mse"; throws `InputError` with the nearest right name.
LossKind parse_loss_kind(std::string_view name);

/*!
 * The graph with a new label, "labels", and the loss on its output, in place of
 * the loss that it had. Throws `InputError` if the graph has no output, or one
 * that the loss does not fit.
 */
OpGraph with_loss(const OpGraph& graph, LossKind kind);

}  // namespace fusionllm
