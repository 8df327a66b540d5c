#pragma once

#include <cstddef>
#include <cstdint>

#include "fusionllm/util/random.hpp"
#include "fusionllm/wire/codec_spec.hpp"

#include "value_bits.hpp"

// The one scale of a tile of integers: the formulas are those of
// fusionllm/codec/value_block.hpp. Loops over a tile are of constant
// length and without branches, for compilers to vectorise.
namespace fusionllm::detail {

inline constexpr int tile = static_cast<int>(tile_size);

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
    float inverse;
};

inline constexpr std::uint16_t not_finite = 0x7FC0u;  //!< a NaN, as bf16

//! Of a tile whose levels reach up to a number.
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

//! Of how many bits levels need not reach the largest number. With four it
//! would save a sixth of the squared error, and encode at a third of the speed.
inline constexpr int most_bits_tried = 3;

//! What the largest number of a tile is when steps are tried: every level of
//! the widest step is a whole number.
inline constexpr int tried_largest = 126;
inline constexpr int num_tried = 4;

//! Steps between levels that are tried (two bits: half of them), widest first:
//! the first reaches the largest number, the others are near the best ones for
//! normal numbers, or for more numbers far out.
template <int bits>
FUSIONLLM_INLINE constexpr int tried_step(int i) {
    switch (i) {
        case 0:
            return tried_largest / largest_level<bits>;
        case 1:
            return bits == 2 ? 28 : 34;
        case 2:
            return bits == 2 ? 22 : 29;
        default:
            return bits == 2 ? 17 : 24;
    }
}

//! The sum of the squared errors of `sizes`, up to `tried_largest`, by levels
//! `step` apart. In 16 bits, which every processor takes many of at once.
template <int bits, int step>
FUSIONLLM_INLINE std::int32_t add_squared_errors(const std::int16_t* sizes) {
    // 2^12 / step, upwards: exact for what is divided here.
    constexpr std::uint16_t inverse = (4096 + step - 1) / step;
    constexpr std::uint16_t last = largest_level<bits>;
    std::int32_t sum = 0;
    for (int i = 0; i < tile; ++i) {
        std::int16_t nearest = 0;
        if constexpr (bits == 2) {
            nearest = sizes[i] < 2 * step ? step : 3 * step;
        } else {
            const auto from = static_cast<std::uint16_t>(sizes[i] + step / 2);
            const auto product = static_cast<std::uint16_t>(from * inverse);
            const auto level = static_cast<std::uint16_t>(product >> 12);
            nearest =
                static_cast<std::int16_t>((level < last ? level : last) * step);
        }
        const auto error = static_cast<std::int16_t>(sizes[i] - nearest);
        sum += std::int32_t{error} * error;
    }
    return sum;
}

//! Without what is not there, which two bits have no zero for.
template <int bits, int i>
FUSIONLLM_INLINE std::int32_t errors_of_tried(const std::int16_t* sizes,
                                              int count) {
    constexpr int step = tried_step<bits>(i);
    constexpr int of_zero = bits == 2 ? step * step : 0;
    return add_squared_errors<bits, step>(sizes) - (tile - count) * of_zero;
}

/*!
 * The part of the largest number that levels should reach for the least squared
 * error when rounded to the nearest, of the few that are tried: on normal
 * numbers 0.39 (two bits) and 0.60 (three) of the error with all of it.
 *
 * \param values `tile` numbers, zeros from `count` on
 */
template <int bits>
FUSIONLLM_INLINE float find_reach(const float* values,
                                  int count,
                                  std::uint32_t largest_bits) {
    constexpr std::uint32_t least = (127u - 90u) << 23;
    if (largest_bits < least || largest_bits >= infinity_bits) {
        return 1;
    }
    // Twice as large, so that halves are rounded without a sum of floats.
    const float factor = 2 * tried_largest / float_of(largest_bits);
    std::int16_t sizes[tile];
    for (int i = 0; i < tile; ++i) {
        const float size = float_of(bits_of(values[i]) & ~sign_bit);
        const auto twice = static_cast<std::int32_t>(size * factor);
        sizes[i] = static_cast<std::int16_t>((twice + 1) >> 1);
    }
    const std::int32_t errors[num_tried] = {
        errors_of_tried<bits, 0>(sizes, count),
        errors_of_tried<bits, 1>(sizes, count),
        errors_of_tried<bits, 2>(sizes, count),
        errors_of_tried<bits, 3>(sizes, count)};
    int best = 0;
    for (int i = 1; i < num_tried; ++i) {
        best = errors[i] < errors[best] ? i : best;
    }
    return static_cast<float>(tried_step<bits>(best)) /
           static_cast<float>(tried_step<bits>(0));
}

}  // namespace fusionllm::detail
