#pragma once

#include <memory>

#include "fusionllm/codec/codec.hpp"

namespace fusionllm {

/*!
 * Coefficients C = X V of a basis V (columns x kept, f16) that both ends have;
 * X' = C V^T. Gradients are projected with the same basis.
 *
 *     forward   the basis, where the message carries one; then C, a block of
 *               values for each vector of the basis (graded: but those without
 *               bits, and zeros at the end), stochastic rounding with
 *               the key derived from that of the message and its number
 *     backward  C
 *
 * Where values have scales, rows of C are first divided by scales of their own,
 * which go before the blocks: those of a vector are common to 128 rows, and
 * gradients of tokens differ by orders of magnitude (row_levels.hpp). A
 * vector without bits is sent in neither direction.
 *
 * The end before the fence makes the basis (`find_basis`) of the numbers it
 * sends, when asked or when it has none; 4 rows columns kept flops a message.
 * Its state is "basis", f32[columns, kept], with graded values f32[columns + 1,
 * kept]: the last row has the bits of each vector, which follow the squares of
 * its coefficients when the basis is made (`grade_bits`). Sums are made in
 * double, in the order of columns, and rounded to f32 once.
 *
 * What is not finite in X makes coefficients that are not, so that it shows.
 */
std::unique_ptr<Codec> make_subspace_codec(const CodecChoice& choice,
                                           const MatrixShape& shape,
                                           MemorySpace space);

}  // namespace fusionllm
