#pragma once

#include <memory>

#include "fusionllm/codec/codec.hpp"

namespace fusionllm {

/*!
 * Coefficients C = X V of a basis V (columns x kept, f16) that both ends have;
 * X' = C V^T. Gradients are projected with the same basis.
 *
 *     forward   the basis, where the message carries one; then C, a block of
 *               values for each vector of the basis, stochastic rounding with
 *               the key derived from that of the message and its number
 *     backward  C
 *
 * The end before the fence makes the basis (`find_basis`) of the numbers it
 * sends, when asked or when it has none; 4 rows columns kept flops a message.
 * Its state is "basis", f32[columns, kept]. Sums are made in double, in the
 * order of columns, and rounded to f32 once.
 *
 * What is not finite in X makes coefficients that are not, so that it shows.
 */
std::unique_ptr<Codec> make_subspace_codec(const CodecChoice& choice,
                                           const MatrixShape& shape,
                                           MemorySpace space);

}  // namespace fusionllm
