#pragma once

#include <cstdint>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm {

//! What one op costs for one micro-batch.
struct OpCost {
    double forward_flops = 0;   //!< a multiply-add is two
    double backward_flops = 0;
    double bytes = 0;           //!< read and written, forward
    double saved_bytes = 0;     //!< kept from forward to backward
    bool is_estimated = false;  //!< no row for the op: by its bytes only

    friend bool operator==(const OpCost&, const OpCost&) = default;
};

//! Cost of every op of a graph, by position in canonical order.
struct Workload {
    std::vector<OpCost> ops;

    friend bool operator==(const Workload&, const Workload&) = default;
};

/*!
 * Estimate every op by its row of the cost table; ops without a row get their
 * bytes. GPT-2 XL: 3.507 Tflop forward a sample.
 */
Workload estimate_workload(const OpGraph& graph);

}  // namespace fusionllm
