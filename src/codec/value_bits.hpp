#pragma once

#include <cstdint>
#include <cstring>

#include "fusionllm/util/random.hpp"

// Formats of numbers, bit by bit, without anything that a device could do
// otherwise: no product is added to anything, so that there is nothing that a
// compiler could contract to one rounding instead of two.
namespace fusionllm::detail {

FUSIONLLM_INLINE std::uint32_t bits_of(float number) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &number, sizeof bits);
    return bits;
}

FUSIONLLM_INLINE float float_of(std::uint32_t bits) {
    float number = 0;
    std::memcpy(&number, &bits, sizeof number);
    return number;
}

inline constexpr std::uint32_t sign_bit = 0x80000000u;
inline constexpr std::uint32_t infinity_bits = 0x7F800000u;

//! A choice that stays free of branches, so that loops can be vectorised.
FUSIONLLM_INLINE std::uint32_t select(bool condition,
                                      std::uint32_t yes,
                                      std::uint32_t no) {
    const std::uint32_t mask = 0u - static_cast<std::uint32_t>(condition);
    return (yes & mask) | (no & ~mask);
}

//! Nearest, ties to even; NaN stays NaN.
FUSIONLLM_INLINE std::uint16_t bf16_of(float number) {
    const std::uint32_t bits = bits_of(number);
    const std::uint32_t rounded = (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
    const std::uint32_t quiet_nan = bits >> 16 | 0x40u;
    return static_cast<std::uint16_t>(
        select((bits & ~sign_bit) > infinity_bits, quiet_nan, rounded));
}

FUSIONLLM_INLINE float float_of_bf16(std::uint16_t bits) {
    return float_of(static_cast<std::uint32_t>(bits) << 16);
}

//! Nearest, ties to even; NaN stays NaN, what is too large becomes infinite.
FUSIONLLM_INLINE std::uint16_t f16_of(float number) {
    constexpr std::uint32_t least_normal = (127u - 14u) << 23;
    constexpr std::uint32_t too_large = (127u + 16u) << 23;
    // Its last bit is worth as much as that of a subnormal f16: adding it
    // rounds there.
    constexpr std::uint32_t subnormal_one = (127u - 14u + 23u - 10u) << 23;
    const std::uint32_t bits = bits_of(number);
    const std::uint32_t size = bits & ~sign_bit;
    const std::uint32_t subnormal =
        bits_of(float_of(size) + float_of(subnormal_one)) - subnormal_one;
    const std::uint32_t normal =
        (size - ((127u - 15u) << 23) + 0xFFFu + (size >> 13 & 1u)) >> 13;
    const std::uint32_t infinite =
        select(size > infinity_bits, 0x7E00u, 0x7C00u);
    const std::uint32_t finite = select(size < least_normal, subnormal, normal);
    const std::uint32_t result = select(size >= too_large, infinite, finite);
    return static_cast<std::uint16_t>((bits & sign_bit) >> 16 | result);
}

FUSIONLLM_INLINE float float_of_f16(std::uint16_t half) {
    constexpr std::uint32_t exponent = 0x7C00u << 13;
    constexpr std::uint32_t subnormal_one = (127u - 14u) << 23;
    const std::uint32_t shifted = (half & 0x7FFFu) << 13;
    const std::uint32_t normal = shifted + ((127u - 15u) << 23);
    const std::uint32_t infinite = normal + ((128u - 16u) << 23);
    const std::uint32_t subnormal =
        bits_of(float_of(shifted + subnormal_one) - float_of(subnormal_one));
    const std::uint32_t finite =
        select((shifted & exponent) == 0, subnormal, normal);
    const std::uint32_t size =
        select((shifted & exponent) == exponent, infinite, finite);
    return float_of(size | (half & 0x8000u) << 16);
}

//! The lower half of each group of 2, 4 or 8 numbers of `bits` that lie next to
//! each other, in groups of as many bytes.
template <int bits, int numbers>
inline constexpr std::uint64_t lower_half =
    ((std::uint64_t{1} << numbers / 2 * bits) - 1) *
    (numbers == 2   ? 0x0001000100010001u
     : numbers == 4 ? 0x0000000100000001u
                    : 1u);

//! Eight bytes, of each the lowest `bits`, one next to the other.
template <int bits>
FUSIONLLM_INLINE std::uint64_t pack_eight(std::uint64_t bytes) {
    constexpr int shift = 8 - bits;
    constexpr std::uint64_t one = lower_half<bits, 2>;
    constexpr std::uint64_t two = lower_half<bits, 4>;
    constexpr std::uint64_t four = lower_half<bits, 8>;
    std::uint64_t x = bytes;
    x = (x & one) | (x >> shift & one << bits);
    x = (x & two) | (x >> 2 * shift & two << 2 * bits);
    return (x & four) | (x >> 4 * shift & four << 4 * bits);
}

//! The opposite; the upper bits of the bytes are zero.
template <int bits>
FUSIONLLM_INLINE std::uint64_t unpack_eight(std::uint64_t packed) {
    constexpr int shift = 8 - bits;
    constexpr std::uint64_t one = lower_half<bits, 2>;
    constexpr std::uint64_t two = lower_half<bits, 4>;
    constexpr std::uint64_t four = lower_half<bits, 8>;
    std::uint64_t x = packed;
    x = (x & four) | (x << 4 * shift & four << 32);
    x = (x & two) | (x << 2 * shift & two << 16);
    return (x & one) | (x << shift & one << 8);
}

}  // namespace fusionllm::detail
