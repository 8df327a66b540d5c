#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fusionllm/util/random.hpp"
#include "fusionllm/wire/codec_spec.hpp"

#include "value_bits.hpp"

// A tile of integers with one scale: the formulas are those of
// fusionllm/codec/value_block.hpp. Loops over `chunk` numbers are of constant
// length and without branches, for compilers to vectorise.
namespace fusionllm::detail {

//! Numbers that are packed together: whole bytes for every number of bits.
inline constexpr int chunk = 32;
static_assert(tile_size % chunk == 0);

//! Of the fixed-point numbers that are rounded to integers.
inline constexpr int fraction_bits = 23;
inline constexpr std::int32_t fixed_half = 1 << (fraction_bits - 1);

template <int bits>
inline constexpr int largest_level = bits == 2 ? 3 : (1 << (bits - 1)) - 1;

template <int bits>
inline constexpr std::size_t chunk_bytes = chunk* bits / 8;

//! The bits of max |x|; those of NaN are larger than those of infinity.
FUSIONLLM_INLINE std::uint32_t find_largest(const float* values, int count) {
    // Signed comparisons are what baseline x86-64 has.
    std::int32_t largest = 0;
    for (int i = 0; i < count; ++i) {
        const auto size =
            static_cast<std::int32_t>(bits_of(values[i]) & ~sign_bit);
        largest = size > largest ? size : largest;
    }
    return static_cast<std::uint32_t>(largest);
}

//! As bf16.
template <int bits>
FUSIONLLM_INLINE std::uint16_t scale_of(std::uint32_t largest) {
    constexpr auto levels = static_cast<float>(largest_level<bits>);
    constexpr std::uint32_t least_normal = 0x0080u;
    constexpr std::uint16_t nan = 0x7FC0u;
    if (largest == 0) {
        return 0;
    }
    if (largest >= infinity_bits) {
        return nan;
    }
    const float exact = float_of(largest) / levels;
    std::uint32_t scale = (bits_of(exact) + 0xFFFFu) >> 16;
    scale = scale < least_normal ? least_normal : scale;
    const float decoded =
        float_of_bf16(static_cast<std::uint16_t>(scale)) * levels;
    return static_cast<std::uint16_t>(
        bits_of(decoded) >= infinity_bits ? scale - 1 : scale);
}

FUSIONLLM_INLINE float inverse_of(std::uint16_t scale) {
    const float number = float_of_bf16(scale);
    return number > 0 ? 1.0f / number : 0.0f;
}

/*!
 * What is added before the fraction is cut off, for `chunk` numbers from
 * `first` (a multiple of it): uniform in steps of 2^-15 of a level, from half a
 * step on, so that a level stays though 1 / s was rounded.
 */
FUSIONLLM_INLINE void draw_dither(std::uint64_t first,
                                  PhiloxKey key,
                                  std::int32_t* dither) {
    for (int i = 0; i < chunk / 8; ++i) {
        const std::uint64_t block = first / 8 + static_cast<std::uint64_t>(i);
        const PhiloxBlock random =
            philox({{static_cast<std::uint32_t>(block),
                     static_cast<std::uint32_t>(block >> 32),
                     0,
                     0}},
                   key);
        for (int j = 0; j < 4; ++j) {
            const std::uint32_t word = random.words[j];
            dither[8 * i + 2 * j] =
                static_cast<std::int32_t>((word & 0xFFFEu) << 7 | 0x80u);
            dither[8 * i + 2 * j + 1] =
                static_cast<std::int32_t>((word >> 16 & 0xFFFEu) << 7 | 0x80u);
        }
    }
}

/*!
 * The integers of `chunk` numbers. Everything from the fixed-point number on is
 * integer arithmetic.
 */
template <int bits, Rounding rounding>
FUSIONLLM_INLINE void round_chunk(const float* values,
                                  float inverse,
                                  const std::int32_t* dither,
                                  std::uint8_t* integers) {
    constexpr auto limit = static_cast<float>(largest_level<bits>);
    // Two bits: levels are two s apart, and half of that above the integer.
    constexpr bool has_zero = bits > 2;
    constexpr auto one =
        static_cast<float>(1 << (has_zero ? fraction_bits : fraction_bits - 1));
    constexpr std::int32_t offset = has_zero ? 0 : fixed_half;
    for (int i = 0; i < chunk; ++i) {
        float t = values[i] * inverse;
        t = t < limit ? t : limit;
        t = t > -limit ? t : -limit;
        auto fixed = static_cast<std::int32_t>(t * one) - offset;
        if constexpr (rounding == Rounding::stochastic) {
            fixed += dither[i];
        } else {
            // One less below zero: halves away from it.
            fixed += fixed_half + (has_zero ? fixed >> 31 : 0);
        }
        integers[i] = static_cast<std::uint8_t>(fixed >> fraction_bits);
    }
}

template <int bits>
FUSIONLLM_INLINE void pack_chunk(const std::uint8_t* integers,
                                 std::byte* packed) {
    if constexpr (bits == 8) {
        std::memcpy(packed, integers, chunk);
    } else {
        for (int i = 0; i < chunk / 8; ++i) {
            std::uint64_t eight = 0;
            std::memcpy(&eight, integers + 8 * i, 8);
            eight = pack_eight<bits>(eight);
            std::memcpy(packed + bits * i, &eight, bits);
        }
    }
}

template <int bits>
FUSIONLLM_INLINE void unpack_chunk(const std::byte* packed,
                                   std::uint8_t* integers) {
    if constexpr (bits == 8) {
        std::memcpy(integers, packed, chunk);
    } else {
        for (int i = 0; i < chunk / 8; ++i) {
            std::uint64_t eight = 0;
            std::memcpy(&eight, packed + bits * i, bits);
            eight = unpack_eight<bits>(eight);
            std::memcpy(integers + 8 * i, &eight, 8);
        }
    }
}

template <int bits>
FUSIONLLM_INLINE void scale_chunk(const std::uint8_t* integers,
                                  float scale,
                                  float* values) {
    constexpr std::int32_t sign = 1 << (bits - 1);
    for (int i = 0; i < chunk; ++i) {
        const std::int32_t q = (integers[i] ^ sign) - sign;
        values[i] = static_cast<float>(bits == 2 ? 2 * q + 1 : q) * scale;
    }
}

}  // namespace fusionllm::detail
