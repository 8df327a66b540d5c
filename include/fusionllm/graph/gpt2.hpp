#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm {

//! Sizes of a GPT-2 (Radford et al., 2019).
struct Gpt2Options {
    std::int64_t layers = 4;
    std::int64_t width = 128;
    std::int64_t heads = 4;
    std::int64_t context = 128;
    std::int64_t vocabulary = 256;
    double dropout = 0;
    bool tie_embeddings = true;

    friend bool operator==(const Gpt2Options&, const Gpt2Options&) = default;
};

//! "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl".
const std::vector<std::string>& gpt2_sizes();
//! The published model of this size, without dropout; throws `InputError` with
//! the nearest right spelling.
Gpt2Options published_gpt2(std::string_view size);

/*!
 * GPT-2 with its loss, for micro-batches of `micro_batch` samples.
 *
 * Inputs: "tokens" i64 (B, T), label "labels" i64 (B, T). Output: "logits"
 * (B, T, V); loss: mean cross-entropy in nats. Parameters have the names and
 * layouts of the published model (weights of the blocks are (in, out)):
 * wte.weight, wpe.weight, h.N.{ln_1,attn.c_attn,attn.c_proj,ln_2,mlp.c_fc,
 * mlp.c_proj}.{weight,bias}, ln_f.{weight,bias}, and lm_head.weight if the
 * embeddings are not tied. Normal(0, 0.02), residual projections
 * 0.02/sqrt(2 layers), biases 0, norms 1.
 *
 * Throws `InputError` for sizes that do not fit together.
 */
OpGraph make_gpt2(const Gpt2Options& options, std::int64_t micro_batch);

}  // namespace fusionllm
