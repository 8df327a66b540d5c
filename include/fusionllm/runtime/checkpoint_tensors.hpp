#pragma once

#include <vector>

#include "fusionllm/exec/optimizer_options.hpp"
#include "fusionllm/graph/op_graph.hpp"
#include "fusionllm/io/tensor_entry.hpp"
#include "fusionllm/plan/plan.hpp"

namespace fusionllm {

//! A tensor that a checkpoint has.
struct CheckpointTensor {
    TensorEntry entry;
    //! Whose stages need it; that of the first one writes it.
    std::vector<std::size_t> ops;
};

//! Of a run: parameters, what the optimizer keeps, buffers, and what codecs
//! keep at these fences.
std::vector<CheckpointTensor> checkpoint_tensors(
    const OpGraph& graph,
    const std::vector<Fence>& fences,
    const OptimizerOptions& optimizer);

//! The names of those that a stage needs.
std::vector<std::string> checkpoint_tensors_of(
    const std::vector<CheckpointTensor>& tensors,
    const Plan& plan,
    std::size_t stage);

}  // namespace fusionllm
