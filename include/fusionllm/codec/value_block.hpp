#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "fusionllm/codec/memory_space.hpp"
#include "fusionllm/wire/codec_spec.hpp"

namespace fusionllm {

/*!
 * Write `values` as the block whose layout `value_block_bytes` states; what
 * pads it is zero. Same input, same bytes, on every device and thread count.
 *
 * f32 is copied bit for bit. bf16 and f16 round to nearest even; what is too
 * large becomes infinite, NaN stays NaN.
 *
 * Integers are two's complement; with s the scale of their tile and q one of
 * them, they mean
 *
 *     int8, int4, int3    q s,        |q| <= L = 127, 7, 3
 *     int2                (2q + 1) s, |2q + 1| <= L = 3
 *
 * s is the least bf16 with L s >= max|x| that is 2^-100 or more; 0 where all
 * are 0. Two bits have no zero: on numbers like normal ones four levels have
 * half of the mean square error that three have, and stochastic rounding is
 * unbiased with both.
 *
 * Rounded is t = x * (1 / s) in f32, cut off at 2^-23 of a step between levels
 * (x * (L / max|x|) where L s would be infinite: then s is the bf16 below).
 * nearest: halves away from zero (int2: towards the larger). stochastic: to the
 * level below or above, with probabilities such that the mean is t, to 2^-16 of
 * a step; a level stays what it is. The bits are those of `philox` with counter
 * i / 8 and `random_key`: of word i % 8 / 2 element i takes the lower (even i)
 * or upper half, without its last bit.
 *
 * A tile in which a number is infinite or NaN has the scale NaN: all of it
 * decodes to NaN, so that nobody misses it.
 *
 * Throws `Error` if Kokkos cannot reach the memory. Returns when it is done.
 *
 * \param format not native
 * \param block  exactly `value_block_bytes(format, values.size())`
 */
void encode_values(ValueFormat format,
                   Rounding rounding,
                   std::uint64_t random_key,
                   std::span<const float> values,
                   std::span<std::byte> block,
                   MemorySpace space);

/*!
 * What `encode_values` wrote; any bytes mean some numbers, and nothing beyond
 * the block is read. Throws as `encode_values` does.
 */
void decode_values(ValueFormat format,
                   std::span<const std::byte> block,
                   std::span<float> values,
                   MemorySpace space);

}  // namespace fusionllm
