#pragma once

#include <memory>

#include "fusionllm/codec/codec.hpp"

namespace fusionllm {

/*!
 * Adds to what is sent what was lost before (Seide et al., Interspeech 2014):
 *
 *     sent     = encode(x + residual)
 *     residual = x + residual - decode(sent)
 *
 * in f32, one residual a direction, at the end that encodes it; it passes from
 * one micro-batch to the next. Training only: evaluation neither takes nor
 * leaves anything. State: that of the codec, "forward_residual" and
 * "backward_residual", f32[rows, columns].
 *
 * Where a residual would not be finite it is zero: that step is skipped, and
 * the next ones do not inherit it.
 *
 * \param codec    encodes and decodes
 * \param listener the same codec again, for codecs whose encoding of a gradient
 *                 forgets what decoding it needs: it decodes every message of
 *                 the fence, those sent and those that came; or null
 */
std::unique_ptr<Codec> make_error_feedback(std::unique_ptr<Codec> codec,
                                           std::unique_ptr<Codec> listener,
                                           const MatrixShape& shape,
                                           MemorySpace space);

}  // namespace fusionllm
