#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <Kokkos_Core.hpp>

#include "value_bits.hpp"

// What rows of coefficients, (kept, rows), are divided by before they are
// rounded, and multiplied by after, since the scales of a vector are common to
// 128 rows. In memory a level a row: it is divided by 2^(level / 8 - 128). In
// messages a level l of 16 bits, then a few bits a row:
//
//     rows differ   l is the largest level; 8 bits c: the level l - 255 + c. So
//                   the largest number of each row is just below 1; only rows
//                   smaller than 2^-31 of the largest are not.
//     else          l is the mean level; 4 bits: the least of 15 levels that is
//                   enough, about l in quarters of octaves, then in steps of
//                   an octave and more. Rows of activations are about equally
//                   large; those of few tokens can be a thousand times as
//                   large.
//
// Bits of 0 are a row of zeros, which stays one though what is rounded is
// dithered, or has two bits, which have no zero.
//
// Levels of whole octaves would double the squared error: rows would be between
// a half and 1, and the scales are for those of 1.
namespace fusionllm::detail {

//! 2^n as f32, for n from -126 to 127.
KOKKOS_INLINE_FUNCTION float power_of_two(int n) {
    return float_of(static_cast<std::uint32_t>(n + 127) << 23);
}

//! A work item's rows: neighbours in memory, which processors take together.
template <class Execution>
inline constexpr int rows_at_once =
    std::is_same_v<typename Execution::memory_space, Kokkos::HostSpace> ? 64
                                                                        : 1;

//! Calls visit(i, coefficient) for row first + i, one vector after the other.
template <int most, class Visit>
KOKKOS_INLINE_FUNCTION void for_each_coefficient(float* coefficients,
                                                 std::uint64_t rows,
                                                 std::uint64_t kept,
                                                 std::uint64_t first,
                                                 const Visit& visit) {
    const std::uint64_t left = rows - first;
    for (std::uint64_t j = 0; j < kept; ++j) {
        float* const from = coefficients + j * rows + first;
        if (left >= most) {
            for (int i = 0; i < most; ++i) {
                visit(i, from[i]);
            }
        } else {
            for (int i = 0; i < static_cast<int>(left); ++i) {
                visit(i, from[i]);
            }
        }
    }
}

inline constexpr int in_octave = 8;
inline constexpr int row_of_zeros = 0;
inline constexpr int octave_zero = 128;  //!< of numbers below 1
inline constexpr int least_octave = 2;   //!< of the smallest f32 there are
inline constexpr int largest_octave = 254;

//! 2^(-i / 8)
KOKKOS_INLINE_FUNCTION float part_of_octave(int i) {
    constexpr float parts[in_octave] = {1.0f,
                                        0.917004043f,
                                        0.840896415f,
                                        0.771105413f,
                                        0.707106781f,
                                        0.648419777f,
                                        0.594603558f,
                                        0.545253866f};
    return parts[i];
}

KOKKOS_INLINE_FUNCTION int octave_of(int level) {
    return (level + in_octave - 1) / in_octave;
}

//! A work item finds the levels of rows: the largest number of each, divided,
//! is at most 1 (but for the largest numbers there are); what is not finite
//! stays.
template <int most>
struct FindLevels {
    float* coefficients;
    std::uint16_t* levels;
    std::uint64_t rows;
    std::uint64_t kept;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t item) const {
        const std::uint64_t first = item * most;
        // Signed comparisons are what baseline x86-64 has.
        std::int32_t largest[most] = {};
        for_each_coefficient<most>(
            coefficients, rows, kept, first, [&](int i, float& number) {
                const auto size =
                    static_cast<std::int32_t>(bits_of(number) & ~sign_bit);
                largest[i] = size > largest[i] ? size : largest[i];
            });
        for (int i = 0; i < most; ++i) {
            if (first + static_cast<std::uint64_t>(i) < rows) {
                levels[first + i] =
                    static_cast<std::uint16_t>(level_of(largest[i]));
            }
        }
    }

    KOKKOS_INLINE_FUNCTION static int level_of(std::int32_t largest) {
        if (largest == 0) {
            return row_of_zeros;
        }
        if (static_cast<std::uint32_t>(largest) >= infinity_bits) {
            return in_octave * octave_zero;
        }
        const int octave = octave_zero + (largest >> 23) - 126;
        if (octave > largest_octave) {
            return in_octave * largest_octave;
        }
        // The same number from 1/2 up to 1.
        const float number = float_of(
            (static_cast<std::uint32_t>(largest) & 0x7FFFFFu) | 126u << 23);
        int below = 0;
        for (int i = 1; i < in_octave; ++i) {
            below += number <= part_of_octave(i) ? 1 : 0;
        }
        return in_octave * octave - below;
    }
};

//! A work item multiplies rows by what their levels say, or divides by it: a
//! row of zeros stays one.
template <int most, bool divides>
struct ScaleRows {
    float* coefficients;
    const std::uint16_t* levels;
    std::uint64_t rows;
    std::uint64_t kept;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t item) const {
        const std::uint64_t first = item * most;
        float factors[most] = {};
        for (int i = 0; i < most; ++i) {
            if (first + static_cast<std::uint64_t>(i) < rows) {
                factors[i] = factor_of(levels[first + i]);
            }
        }
        for_each_coefficient<most>(
            coefficients, rows, kept, first, [&](int i, float& number) {
                number *= factors[i];
            });
    }

    KOKKOS_INLINE_FUNCTION static float factor_of(int level) {
        if (level == row_of_zeros) {
            return 0.0f;
        }
        const int octave = octave_of(level);
        const int below = in_octave * octave - level;
        if constexpr (divides) {
            // 2^(b / 8) = 2 2^(-(8 - b) / 8)
            return power_of_two(octave_zero - octave) *
                   (below == 0 ? 1.0f : 2 * part_of_octave(in_octave - below));
        } else {
            return power_of_two(octave - octave_zero) * part_of_octave(below);
        }
    }
};

inline constexpr int least_level = in_octave * least_octave;
inline constexpr int largest_level_of_rows = in_octave * largest_octave;

KOKKOS_INLINE_FUNCTION int valid_level(int level) {
    return level < least_level             ? least_level
           : level > largest_level_of_rows ? largest_level_of_rows
                                           : level;
}

//! What a row's bits mean, where rows differ; `first` is the largest level.
struct DifferingRows {
    static constexpr int bits = 8;
    static constexpr int most = 255;
    int first;

    KOKKOS_INLINE_FUNCTION int code(int level) const {
        const int code = most - (first - level);
        return level == row_of_zeros ? 0 : code < 1 ? 1 : code;
    }
    KOKKOS_INLINE_FUNCTION int level(int code) const {
        return code == 0 ? row_of_zeros : valid_level(first - most + code);
    }
};

//! And where they are alike; `first` is the mean level.
struct AlikeRows {
    static constexpr int bits = 4;
    int first;

    //! Above the mean, of a code from 1 on.
    KOKKOS_INLINE_FUNCTION static int above(int code) {
        constexpr int levels[] = {
            -4, -2, 0, 2, 4, 6, 8, 10, 18, 28, 38, 48, 60, 74, 90};
        return levels[code - 1];
    }

    KOKKOS_INLINE_FUNCTION int code(int level) const {
        if (level == row_of_zeros) {
            return 0;
        }
        const int needed = level - first;
        int code = 1;
        while (code + 1 < 1 << bits && above(code) < needed) {
            ++code;
        }
        return code;
    }
    KOKKOS_INLINE_FUNCTION int level(int code) const {
        return code == 0 ? row_of_zeros : valid_level(first + above(code));
    }
};

}  // namespace fusionllm::detail
