#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fusionllm/codec/memory_space.hpp"
#include "fusionllm/wire/codec_spec.hpp"

namespace fusionllm {

//! The bits of f16, each row `kept` long: of a column of X what each vector of
//! the basis has there.
using BasisBits = std::vector<std::uint16_t>;

//! What a basis of all columns is: any does where all values are sent alike.
enum class WholeSpace { unit_vectors, components };

/*!
 * About the `kept` principal components of X (rows x columns, not centred),
 * orthonormal, largest first, rounded to f16.
 *
 * Orthogonal iteration on X^T X (Golub and Van Loan, Matrix Computations, 8.2)
 * with 8 vectors more than are kept, then Rayleigh and Ritz; from random
 * vectors or from `previous`: 4 or 2 times 4 rows columns (kept + 8) flops.
 * Of more than 248 vectors without the 8 and the last part, from `previous`
 * once.
 * All columns kept: the unit vectors, if `whole` says so. If X^T X is not
 * finite: `previous` or the unit vectors, so that what is wrong with X shows in
 * its coefficients alone.
 *
 * \param previous empty, or a basis of this size
 */
BasisBits find_basis(std::span<const float> x,
                     const MatrixShape& shape,
                     std::uint64_t kept,
                     const BasisBits& previous,
                     WholeSpace whole,
                     MemorySpace space);

//! The last row of a basis with graded values: the bits of each vector; what is
//! no number of bits becomes 255.
std::vector<std::uint8_t> read_bits(const BasisBits& basis, std::uint64_t kept);

}  // namespace fusionllm
