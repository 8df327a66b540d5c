#pragma once

#include <string>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"
#include "fusionllm/topology/device_kind.hpp"

namespace fusionllm {

//! What one op costs for one micro-batch.
struct OpCost {
    OpKind kind = OpKind::other;
    double forward_flops = 0;  //!< a multiply-add is two
    double backward_flops = 0;
    double bytes = 0;            //!< read and written, forward
    double backward_bytes = 0;   //!< read and written, backward
    double output_bytes = 0;     //!< of all outputs
    double parameter_bytes = 0;  //!< of the parameters that it reads
    double saved_bytes = 0;      //!< kept from forward to backward
    //! Gradients of parameters, which a micro-batch adds to those before it.
    double accumulated_bytes = 0;
    bool has_backward = false;  //!< some output has a gradient
    bool is_estimated = false;  //!< no row for the op: by its bytes only

    friend bool operator==(const OpCost&, const OpCost&) = default;
};

//! Cost of every op of a graph, by position in canonical order.
struct Workload {
    std::vector<OpCost> ops;

    friend bool operator==(const Workload&, const Workload&) = default;
};

/*!
 * Estimate every op by its row of the cost table (src/cost/cost_table.cpp).
 *
 * - Flops: a multiply-add is two. The backward of a contraction costs its
 *   forward once for each factor that has a gradient; of other ops, their
 *   forward once for each argument that has one. Attention and recurrent nets
 *   have rules of their own.
 * - Bytes backward: gradients of the outputs and what was kept are read,
 *   gradients of the arguments written; of a product, once for each factor.
 *   Adding the gradients of a value's other users counts with the earlier user.
 * - `saved_bytes`: what autograd keeps from forward to backward. A tensor that
 *   several ops keep counts once a graph, at the first of them in canonical
 *   order; views count as the tensor that they show. Parameters never count.
 *   So a value kept on both sides of a cut counts on the earlier side only.
 * - An op without a row has no flops, its bytes, and is taken to keep what it
 *   reads.
 *
 * GPT-2 XL: 3.507 Tflop forward a sample.
 */
Workload estimate_workload(const OpGraph& graph);

//! Throws `InputError` if graph and workload do not have equally many ops.
void check_workload(const OpGraph& graph, const Workload& workload);

/*!
 * Targets of the ops that the cost table does not have, once each, by name.
 *
 * Throws as `check_workload`.
 */
std::vector<std::string> ops_without_row(const OpGraph& graph,
                                         const Workload& workload);

}  // namespace fusionllm
