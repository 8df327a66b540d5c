#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "fusionllm/graph/call.hpp"

namespace fusionllm {

/*!
 * The ops that stand for an operator which LibTorch 1.13 lacks, written in ops
 * that it has: attention, RMS norms. Dropout becomes a product with a mask of
 * ours. One value an output, or nothing if the call is not of such an operator.
 * Throws `InputError` if the call is not one of the operator.
 */
std::vector<ValueId> write_decomposed(const Call& call, OpWriter& writer);

/*!
 * The graph with every op that `is_wanted` decomposed, if it can be: it becomes
 * several ops, named like it with a point and more, of which the last has its
 * name and its value. Other ops, all values of the graph, and its signature
 * stay as they are.
 */
OpGraph decompose(const OpGraph& graph,
                  const std::function<bool(const Op&)>& is_wanted);

/*!
 * Hash of the graph with everything decomposed: equal for the graphs that one
 * model becomes where LibTorch differs.
 */
std::uint64_t portable_hash(const OpGraph& graph);

}  // namespace fusionllm
