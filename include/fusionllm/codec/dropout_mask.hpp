#pragma once

#include <cstdint>
#include <span>

#include "fusionllm/codec/memory_space.hpp"

namespace fusionllm {

/*!
 * Fill `mask` with 0 (probability p) or 1/(1-p), element i a function of
 * (key, i) alone: Philox4x32-10, counter i/4, word i%4 >= floor(p 2^32) stays.
 *
 * Integer arithmetic decides, so the mask is the same on every device, thread
 * count and library version. Throws `Error` if Kokkos cannot reach the memory.
 * Returns when the mask is there.
 */
void fill_dropout_mask(std::span<float> mask,
                       std::uint64_t key,
                       double p,
                       MemorySpace space);

}  // namespace fusionllm
