#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm::detail {

/*!
 * Positions of `ops` in canonical order, see `OpGraph`.
 *
 * The values that the ops use exist and have one source each. Throws
 * `InputError` that names the ops of a cycle, if there is one. Costs
 * O(ops * ready ops).
 */
std::vector<std::size_t> canonical_order(const std::string& graph_name,
                                         const std::vector<Value>& values,
                                         const std::vector<Op>& ops,
                                         const GraphSignature& signature);

}  // namespace fusionllm::detail
