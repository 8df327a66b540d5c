#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fusionllm/util/random.hpp"
#include "fusionllm/wire/codec_spec.hpp"

#include "value_bits.hpp"

// A tile of integers with one scale: the formulas are those of
// fusionllm/codec/value_block.hpp. Loops over a tile are of constant
// length and without branches, for compilers to vectorise.
namespace fusionllm::detail {

inline constexpr int tile = static_cast<int>(tile_size);

//! Of the fixed-point numbers that are rounded to integers.
inline constexpr int fraction_bits = 23;
inline constexpr std::int32_t fixed_half = 1 << (fraction_bits - 1);

template <int bits>
inline constexpr int largest_level = bits == 2 ? 3 : (1 << (bits - 1)) - 1;

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

//! What a tile's numbers are divided by.
struct TileScale {
    std::uint16_t bf16;
    float inverse;  //!< no number of the tile times this is beyond the levels
};

inline constexpr std::uint16_t not_finite = 0x7FC0u;  //!< a NaN, as bf16

template <int bits>
FUSIONLLM_INLINE TileScale scale_of(std::uint32_t largest_bits) {
    constexpr auto levels = static_cast<float>(largest_level<bits>);
    constexpr std::uint32_t least = (127u - 100u) << 7;
    if (largest_bits == 0) {
        return {0, 0.0f};
    }
    if (largest_bits >= infinity_bits) {
        return {not_finite, 0.0f};
    }
    const float largest = float_of(largest_bits);
    std::uint32_t scale = bits_of(largest / levels) >> 16;
    scale = scale < least ? least : scale;
    // 7 and 8 bits: the product is exact, or infinite.
    const auto reach = [](std::uint32_t bf16) {
        return float_of(bf16 << 16) * levels;
    };
    scale += reach(scale) < largest ? 1 : 0;
    const auto bf16 = static_cast<std::uint16_t>(scale);
    if (bits_of(reach(scale)) >= infinity_bits) {
        return {static_cast<std::uint16_t>(scale - 1), levels / largest};
    }
    return {bf16, 1.0f / float_of(scale << 16)};
}

FUSIONLLM_INLINE std::uint32_t multiply_high(std::uint32_t a, std::uint32_t b) {
    return static_cast<std::uint32_t>(static_cast<std::uint64_t>(a) * b >> 32);
}

/*!
 * What is added before the fraction is cut off, for the tile from number
 * `first` on: uniform in steps of 2^-15 of a level, from half a step on, so
 * that a level stays though 1 / s was rounded.
 */
FUSIONLLM_INLINE void draw_dither(std::uint64_t first,
                                  PhiloxKey key,
                                  std::int32_t* dither) {
    constexpr int num_blocks = tile_size / 8;
    std::uint32_t words[4][num_blocks];
    for (int i = 0; i < num_blocks; ++i) {
        const std::uint64_t block = first / 8 + static_cast<std::uint64_t>(i);
        words[0][i] = static_cast<std::uint32_t>(block);
        words[1][i] = static_cast<std::uint32_t>(block >> 32);
        words[2][i] = 0;
        words[3][i] = 0;
    }
    // As `philox`, all blocks a round at a time.
    for (int round = 0; round < 10; ++round) {
        for (int i = 0; i < num_blocks; ++i) {
            const std::uint32_t a = words[0][i];
            const std::uint32_t b = words[2][i];
            words[0][i] =
                multiply_high(b, 0xCD9E8D57u) ^ words[1][i] ^ key.words[0];
            words[1][i] = b * 0xCD9E8D57u;
            words[2][i] =
                multiply_high(a, 0xD2511F53u) ^ words[3][i] ^ key.words[1];
            words[3][i] = a * 0xD2511F53u;
        }
        key.words[0] += 0x9E3779B9u;
        key.words[1] += 0xBB67AE85u;
    }
    for (int i = 0; i < num_blocks; ++i) {
        for (int j = 0; j < 4; ++j) {
            const std::uint32_t word = words[j][i];
            dither[8 * i + 2 * j] =
                static_cast<std::int32_t>((word & 0xFFFEu) << 7 | 0x80u);
            dither[8 * i + 2 * j + 1] =
                static_cast<std::int32_t>((word >> 16 & 0xFFFEu) << 7 | 0x80u);
        }
    }
}

/*!
 * The integers of `tile` numbers. Everything from the fixed-point number on is
 * integer arithmetic.
 */
template <int bits, Rounding rounding>
FUSIONLLM_INLINE void round_tile(const float* values,
                                 float inverse,
                                 const std::int32_t* dither,
                                 std::uint8_t* integers) {
    // Two bits: levels are two s apart, and half of that above the integer.
    constexpr bool has_zero = bits > 2;
    constexpr auto one =
        static_cast<float>(1 << (has_zero ? fraction_bits : fraction_bits - 1));
    constexpr std::int32_t offset = has_zero ? 0 : fixed_half;
    const float factor = inverse * one;  // exact
    for (int i = 0; i < tile; ++i) {
        auto fixed = static_cast<std::int32_t>(values[i] * factor) - offset;
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
FUSIONLLM_INLINE void pack_tile(const std::uint8_t* integers,
                                std::byte* packed) {
    if constexpr (bits == 8) {
        std::memcpy(packed, integers, tile);
    } else {
        std::uint64_t eights[tile / 8];
        std::memcpy(eights, integers, tile);
        for (std::uint64_t& eight : eights) {
            eight = pack_eight<bits>(eight);
        }
        for (int i = 0; i < tile / 8; ++i) {
            std::memcpy(packed + bits * i, &eights[i], bits);
        }
    }
}

template <int bits>
FUSIONLLM_INLINE void unpack_tile(const std::byte* packed,
                                  std::uint8_t* integers) {
    if constexpr (bits == 8) {
        std::memcpy(integers, packed, tile);
    } else {
        std::uint64_t eights[tile / 8] = {};
        for (int i = 0; i < tile / 8; ++i) {
            std::memcpy(&eights[i], packed + bits * i, bits);
        }
        for (std::uint64_t& eight : eights) {
            eight = unpack_eight<bits>(eight);
        }
        std::memcpy(integers, eights, tile);
    }
}

template <int bits>
FUSIONLLM_INLINE void scale_tile(const std::uint8_t* integers,
                                 float scale,
                                 float* values) {
    constexpr std::int32_t sign = 1 << (bits - 1);
    for (int i = 0; i < tile; ++i) {
        const std::int32_t q = (integers[i] ^ sign) - sign;
        values[i] = static_cast<float>(bits == 2 ? 2 * q + 1 : q) * scale;
    }
}

}  // namespace fusionllm::detail
