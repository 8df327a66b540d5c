#pragma once

#include <vector>

#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm::detail {

//! For every value, see `OpGraph::has_gradient`; `ops` are in order.
std::vector<bool> find_gradients(const std::vector<Value>& values,
                                 const std::vector<Op>& ops,
                                 const GraphSignature& signature);

}  // namespace fusionllm::detail
