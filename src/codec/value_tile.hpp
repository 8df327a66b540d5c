#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fusionllm/util/random.hpp"
#include "fusionllm/wire/codec_spec.hpp"

#include "tile_scale.hpp"

// A tile of integers with one scale: the formulas are those of
// fusionllm/codec/value_block.hpp. Loops over a tile are of constant
// length and without branches, for compilers to vectorise.
namespace fusionllm::detail {

//! Of the fixed-point numbers that are rounded to integers.
inline constexpr int fraction_bits = 23;
inline constexpr std::int32_t fixed_half = 1 << (fraction_bits - 1);

/*!
 * What is added before the fraction is cut off, for the tile from number
 * `first` on, eight numbers a counter: uniform in steps of 2^-15 of a level,
 * from half a step on, so that a level stays though 1 / s was rounded.
 *
 * Not inline, and the counters of a tile together: so compilers vectorise it.
 */
[[gnu::noinline]] FUSIONLLM_INLINE void draw_dither(std::uint64_t first,
                                                    PhiloxKey key,
                                                    std::int32_t* dither) {
    constexpr int counters = tile / 8;
    std::uint32_t words0[counters];
    std::uint32_t words1[counters];
    std::uint32_t words2[counters] = {};
    std::uint32_t words3[counters] = {};
    for (int i = 0; i < counters; ++i) {
        const std::uint64_t counter = first / 8 + static_cast<std::uint64_t>(i);
        words0[i] = static_cast<std::uint32_t>(counter);
        words1[i] = static_cast<std::uint32_t>(counter >> 32);
    }
    philox_lanes<counters>(words0, words1, words2, words3, key);
    for (int i = 0; i < counters; ++i) {
        const std::uint32_t words[4] = {
            words0[i], words1[i], words2[i], words3[i]};
        for (int j = 0; j < 4; ++j) {
            std::int32_t* const two = dither + 8 * i + 2 * j;
            two[0] =
                static_cast<std::int32_t>((words[j] & 0xFFFEu) << 7 | 0x80u);
            two[1] = static_cast<std::int32_t>((words[j] >> 16 & 0xFFFEu) << 7 |
                                               0x80u);
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
    constexpr float last = one * largest_level<bits>;
    for (int i = 0; i < tile; ++i) {
        float number = values[i] * factor;
        if constexpr (rounding == Rounding::nearest &&
                      bits <= most_bits_tried) {
            // Beyond the levels: the last ones.
            number = number < last ? number : last;
            number = number > -last ? number : -last;
        }
        auto fixed = static_cast<std::int32_t>(number) - offset;
        if constexpr (rounding == Rounding::stochastic) {
            fixed += dither[i];
        } else {
            // One less below zero: halves away from it.
            fixed += fixed_half + (has_zero ? fixed >> 31 : 0);
        }
        integers[i] = static_cast<std::uint8_t>(fixed >> fraction_bits);
    }
}

//! Of two bytes, their lowest `bits`, a byte: `count` of them.
template <int bits, int count>
FUSIONLLM_INLINE void pack_pairs(const std::uint8_t* from, std::uint8_t* to) {
    constexpr unsigned low = (1u << bits) - 1;
    std::uint16_t pairs[count];
    std::memcpy(pairs, from, 2 * count);
    for (int i = 0; i < count; ++i) {
        const unsigned pair = pairs[i];
        to[i] = static_cast<std::uint8_t>((pair & low) |
                                          (pair >> (8 - bits) & low << bits));
    }
}

template <int bits>
FUSIONLLM_INLINE void pack_tile(const std::uint8_t* integers,
                                std::byte* packed) {
    if constexpr (bits == 8) {
        std::memcpy(packed, integers, tile);
    } else if constexpr (bits != 4 && bits != 2) {
        std::uint64_t eights[tile / 8];
        std::memcpy(eights, integers, tile);
        for (std::uint64_t& eight : eights) {
            eight = pack_eight<bits>(eight);
        }
        for (int i = 0; i < tile / 8; ++i) {
            std::memcpy(packed + bits * i, &eights[i], bits);
        }
    } else {
        std::uint8_t bytes[tile / 2];
        pack_pairs<bits, tile / 2>(integers, bytes);
        if constexpr (bits == 2) {
            pack_pairs<4, tile / 4>(bytes, bytes);
        }
        std::memcpy(packed, bytes, tile * bits / 8);
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

/*!
 * As `scale_tile`, with what was added before rounding taken away again: the
 * error is uniform, half a step at most, and says nothing of the number.
 * Everything is exact but the last product.
 */
template <int bits>
FUSIONLLM_INLINE void scale_dithered_tile(const std::uint8_t* integers,
                                          const std::int32_t* dither,
                                          float scale,
                                          float* values) {
    constexpr std::int32_t sign = 1 << (bits - 1);
    constexpr float one = 1.0f / (1 << fraction_bits);
    const float most = float_of(infinity_bits - 1);
    for (int i = 0; i < tile; ++i) {
        const std::int32_t q = (integers[i] ^ sign) - sign;
        const float added = static_cast<float>(dither[i] - fixed_half) * one;
        const float level = static_cast<float>(q) - added;
        const float value = (bits == 2 ? 2 * level + 1 : level) * scale;
        // Half a step beyond the largest numbers there are is infinite.
        const float above = value < -most ? -most : value;
        values[i] = above > most ? most : above;
    }
}

}  // namespace fusionllm::detail
