#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "fusionllm/codec/memory_space.hpp"

namespace fusionllm {

/*!
 * Write ascending indices below `num_elements` as `index_layout` says, in
 * little-endian order:
 *
 *     bitmap       bit i is 1 if i is one of the indices
 *     Elias-Fano   the lowest `low_bits` of each index, packed, the first in
 *                  the lowest bits; padding; then bit (index >> low_bits) + j
 *                  is 1 for the j-th index
 *
 * What pads either part is zero. About 2 + log2(n/k) bits an index: n, k as in
 * `index_layout`.
 *
 * \param packed exactly `index_layout(num_elements, indices.size()).bytes()`
 *
 * Throws `InputError` for 2^32 elements or more, and `Error` if Kokkos cannot
 * reach the memory. Returns when it is done.
 */
void encode_indices(std::span<const std::uint32_t> indices,
                    std::uint64_t num_elements,
                    std::span<std::byte> packed,
                    MemorySpace space);

/*!
 * What `encode_indices` wrote. Trusts nothing: throws `Error` with a sentence
 * unless there are exactly as many indices as asked for, ascending, below
 * `num_elements`, and all padding is zero. Then `indices` has no meaning, but
 * nothing was written beyond it. Throws as `encode_indices` besides.
 */
void decode_indices(std::span<const std::byte> packed,
                    std::uint64_t num_elements,
                    std::span<std::uint32_t> indices,
                    MemorySpace space);

}  // namespace fusionllm
