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
 *     int8, 6, 5, 4, 3    q s,        |q| <= L = 127, 31, 15, 7, 3
 *     int2                (2q + 1) s, |2q + 1| <= L = 3
 *
 * s is the least bf16 with L s >= r max|x| that is 2^-100 or more; 0 where all
 * are 0. r is 1 but for int3 and int2 rounded to the nearest, where it is that
 * of four which has the least squared error, the larger if two have, with
 * numbers counted in whole 126ths of max|x| (and 1 if that is below 2^-90):
 *
 *     int3    1, 34/42, 29/42, 24/42
 *     int2    1, 28/42, 22/42, 17/42
 *
 * On normal numbers that makes 0.60 and 0.39 of the squared error with r = 1,
 * and less where some are far out: docs/decisions/levels-need-not-reach.md.
 *
 * Two bits have no zero: on numbers like normal ones four levels have
 * half of the mean square error that three have.
 *
 * Rounded is t = x * (1 / s) in f32, cut off at 2^-23 of a step between levels
 * (x * (L / max|x|) where L s would be infinite: then s is the bf16 below).
 * nearest: halves away from zero (int2: towards the larger), what is beyond the
 * last level to that. stochastic: after u from (0, 1) is added, downwards; who
 * decodes takes u - 1/2 away again. So the error is uniform, half a step at
 * most, and independent of the number (subtractive dither: Schuchman, "Dither
 * signals and their effect on quantization noise", IEEE Trans. Commun. Tech.
 * 12, 1964): right on average, with the mean square of rounding to the nearest.
 * u is an odd multiple of 2^-16; its bits are those of `philox` with counter i
 * / 8 and `random_key`: of word i % 8 / 2 element i takes the lower (even i) or
 * upper half, without its last bit.
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
 * What `encode_values` wrote with the same rounding and key; any bytes mean
 * some numbers, and nothing beyond the block is read. Throws as `encode_values`
 * does.
 */
void decode_values(ValueFormat format,
                   Rounding rounding,
                   std::uint64_t random_key,
                   std::span<const std::byte> block,
                   std::span<float> values,
                   MemorySpace space);

}  // namespace fusionllm
