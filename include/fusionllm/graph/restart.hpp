#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm {

//! What stands in for the value that no longer crosses.
enum class RestartKind {
    embedding,  //!< a learned token and position embedding of its own
    zeros,      //!< nothing: a tensor of zeros
};

/*!
 * The cut just after an op, as a position in the graph's canonical order, by
 * the op's name. A name that is the begin of others, such as "h.1" of
 * "h.1.attn.c_attn", means the last op of them in that order: the cut after
 * block 1. Throws `InputError` with the nearest right name.
 */
std::size_t find_cut(const OpGraph& graph, std::string_view name);

/*!
 * The graph as it would be if nothing but token ids crossed the cut before op
 * number `cut`: a control for experiments with compression, and a bound for
 * what compression may cost.
 *
 * The value that crosses is replaced, for the ops after the cut, by zeros; or x
 * (B T, C) or (B, T, C) by
 *
 *     restart.token[tokens] + restart.position
 *
 * with the new parameters restart.token.weight (V, C) and
 * restart.position.weight (T, C), which start like the embedding of the tokens
 * that the graph has. What no longer reaches the loss or the
 * output is dropped, ops and parameters alike: the ops before the cut would
 * run without any effect. So of several cuts only the last counts, and this
 * takes one. The inputs stay, used or not. Parameters that both sides use,
 * such as a tied embedding, stay with their uses after the cut.
 *
 * Throws `InputError` if another number of values than one crosses with a
 * gradient, or if the ops after the cut can know in another way what those
 * before it made; and for an embedding, if the graph has no input of token ids
 * i64 (B, T) that an aten::embedding reads, or if what crosses is not f32
 * (B T, C) or (B, T, C).
 */
OpGraph restart_at(const OpGraph& graph, std::size_t cut, RestartKind kind);

}  // namespace fusionllm
