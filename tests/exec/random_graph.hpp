#pragma once

#include <cstdint>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm::test {

/*!
 * A graph of about `num_ops` random operators, a function of the seed alone:
 * elementwise ops with broadcasting, matrix products, transposes, reductions,
 * softmax, expands, splits, masks, look-ups by computed indices, dropout. The
 * loss is the sum of squares of (nearly) all values that nothing reads.
 */
OpGraph make_random_graph(std::uint64_t seed, int num_ops);

//! Values in (-1, 1) for f32 inputs, a function of seed and input alone.
std::vector<HostTensor> make_random_inputs(const OpGraph& graph,
                                           std::uint64_t seed);

}  // namespace fusionllm::test
