#pragma once

#include <cstddef>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm {

/*!
 * Buffers (positions in the signature, ascending) that the op changes when it
 * trains: the running statistics of batch and instance norms, and what an
 * operator with a name in "_" (`aten::add_`) changes in place.
 */
std::vector<std::size_t> changed_buffers(const OpGraph& graph, OpId op);

/*!
 * Whether stages may end before each op: no buffer that training changes has
 * ops on either side. By position, 0 to the number of ops.
 */
std::vector<bool> find_cuttable(const OpGraph& graph);

/*!
 * Check that stages which end before the ops `cuts` (ascending) keep every
 * buffer that training changes with all of its ops: no message carries it.
 *
 * Throws `InputError` with the buffer and two ops.
 */
void check_buffer_updates(const OpGraph& graph,
                          const std::vector<std::size_t>& cuts);

/*!
 * The op as it runs without training: training flags of norms and the
 * probability inside fused attention off. Norms that have no running
 * statistics know only the training way and stay as they are.
 */
Op evaluation_form(Op op);

}  // namespace fusionllm
