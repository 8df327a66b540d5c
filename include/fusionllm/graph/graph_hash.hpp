#pragma once

#include <cstdint>

#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm {

//! Whether that is the `graph_hash` of the graph, or what plans had as such
//! when the graph's name, which is that of a model's file, counted.
bool is_graph_hash(std::uint64_t hash, const OpGraph& graph);
//! The same of `portable_hash`, which checkpoints have.
bool is_portable_hash(std::uint64_t hash, const OpGraph& graph);

}  // namespace fusionllm
