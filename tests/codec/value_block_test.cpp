#include "fusionllm/codec/value_block.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/codec/kokkos_scope.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

#include "kokkos_environment.hpp"

namespace fusionllm::test {
namespace {

using Bytes = std::vector<std::byte>;
using Values = std::vector<float>;
using Limits = std::numeric_limits<float>;

constexpr std::uint64_t key = 0x0123456789abcdef;
constexpr ValueFormat all_formats[] = {ValueFormat::f32,
                                       ValueFormat::bf16,
                                       ValueFormat::f16,
                                       ValueFormat::int8,
                                       ValueFormat::int6,
                                       ValueFormat::int5,
                                       ValueFormat::int4,
                                       ValueFormat::int3,
                                       ValueFormat::int2};
constexpr ValueFormat integer_formats[] = {ValueFormat::int8,
                                           ValueFormat::int6,
                                           ValueFormat::int5,
                                           ValueFormat::int4,
                                           ValueFormat::int3,
                                           ValueFormat::int2};
constexpr Rounding both[] = {Rounding::nearest, Rounding::stochastic};
constexpr std::size_t odd_sizes[] = {
    0, 1, 2, 7, 8, 9, 127, 128, 129, 255, 1000, 4097};

Bytes encode(ValueFormat format, Rounding rounding, const Values& values) {
    // Not zeros, so that bytes which are left out are seen.
    Bytes block(value_block_bytes(format, values.size()), std::byte{0xA5});
    encode_values(format, rounding, key, values, block, MemorySpace::host);
    return block;
}

Values decode(ValueFormat format,
              Rounding rounding,
              const Bytes& block,
              std::size_t size) {
    Values values(size, -77.0f);
    decode_values(format, rounding, key, block, values, MemorySpace::host);
    return values;
}

//! For comparison bit by bit: NaN equals itself, 0 differs from -0.
std::vector<std::uint32_t> bits(const Values& values) {
    std::vector<std::uint32_t> result;
    for (const float value : values) {
        result.push_back(std::bit_cast<std::uint32_t>(value));
    }
    return result;
}

float draw_uniform(std::uint64_t seed, std::uint64_t i) {
    const auto block = philox({{static_cast<std::uint32_t>(i), 0, 0, 7}},
                              make_philox_key(seed));
    return static_cast<float>(block.words[0] >> 8) * 0x1p-24f;
}

//! Numbers of all sizes and signs, more small ones than large ones.
Values make_values(std::size_t size, std::uint64_t seed) {
    Values values;
    for (std::size_t i = 0; i < size; ++i) {
        const float u = 2 * draw_uniform(seed, i) - 1;
        values.push_back(3 * u * u * u);
    }
    return values;
}

// ---- what the header says, one number at a time

struct Reference {
    int bits;
    int levels;
};

Reference reference_of(ValueFormat format) {
    const int number = value_bits(format);
    return {number, number == 2 ? 3 : (1 << (number - 1)) - 1};
}

float bf16_number(std::uint32_t bits) {
    return std::bit_cast<float>(bits << 16);
}

std::uint32_t reference_scale(double largest, int levels) {
    if (!std::isfinite(largest)) {
        return 0x7FC0;
    }
    if (largest == 0) {
        return 0;
    }
    // All positive bf16 in order: halve the interval.
    std::uint32_t low = 27u << 7;
    std::uint32_t high = 0x7F80;
    while (low < high) {
        const std::uint32_t middle = (low + high) / 2;
        if (double{bf16_number(middle)} * levels >= largest) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return double{bf16_number(low)} * levels > double{Limits::max()} ? low - 1
                                                                     : low;
}

//! In [0, 1)
double reference_dither(std::uint64_t i) {
    const auto block = philox({{static_cast<std::uint32_t>(i / 8),
                                static_cast<std::uint32_t>(i / 8 >> 32),
                                0,
                                0}},
                              make_philox_key(key));
    const std::uint32_t word = block.words[i % 8 / 2];
    const std::uint32_t half = i % 2 == 0 ? word & 0xFFFF : word >> 16;
    return (half / 2 + 0.5) / 32768;
}

int reference_integer(Reference format,
                      Rounding rounding,
                      float t,
                      std::uint64_t i) {
    const double step = format.bits == 2 ? 0x1p-22 : 0x1p-23;
    const double fixed = std::trunc(t / step) * step;
    const double x = format.bits == 2 ? (fixed - 1) / 2 : fixed;
    if (rounding == Rounding::stochastic) {
        return static_cast<int>(std::floor(x + reference_dither(i)));
    }
    const double q = format.bits == 2 ? std::floor(x + 0.5) : std::round(x);
    const double last = format.bits == 2 ? 1 : format.levels;
    const double first = format.bits == 2 ? -2 : -format.levels;
    return static_cast<int>(std::clamp(q, first, last));
}

//! The part of max |x| that levels reach: the one of least squared error.
double reference_reach(Reference format,
                       std::span<const float> values,
                       float largest) {
    const std::map<int, std::vector<int>> steps = {{3, {42, 34, 29, 24}},
                                                   {2, {42, 28, 22, 17}}};
    if (format.bits > 3 || largest < 0x1p-90f) {
        return 1;
    }
    double best = 1;
    long least = std::numeric_limits<long>::max();
    for (const int step : steps.at(format.bits)) {
        long sum = 0;
        for (const float value : values) {
            const int size =
                (static_cast<int>(std::abs(value) * (252 / largest)) + 1) / 2;
            const int level =
                format.bits == 2
                    ? (size < 2 * step ? 1 : 3)
                    : std::min((size + step / 2) / step, format.levels);
            sum += (size - level * step) * (size - level * step);
        }
        if (sum < least) {
            least = sum;
            best = float(step) / float(126 / format.levels);
        }
    }
    return best;
}

Bytes reference_block(ValueFormat format,
                      Rounding rounding,
                      const Values& values) {
    const Reference reference = reference_of(format);
    Bytes block(value_block_bytes(format, values.size()));
    const std::size_t head = scale_bytes(format, values.size());
    for (std::size_t first = 0; first < values.size(); first += tile_size) {
        const std::size_t end = std::min(first + tile_size, values.size());
        float largest = 0;
        bool is_finite = true;
        for (std::size_t i = first; i < end; ++i) {
            is_finite = is_finite && std::isfinite(values[i]);
            largest = std::max(largest, std::abs(values[i]));
        }
        if (is_finite && rounding == Rounding::nearest) {
            largest *= static_cast<float>(
                reference_reach(reference,
                                std::span(values).subspan(first, end - first),
                                largest));
        }
        const std::uint32_t scale = reference_scale(
            is_finite ? largest : Limits::infinity(), reference.levels);
        block[first / tile_size * 2] = static_cast<std::byte>(scale & 255);
        block[first / tile_size * 2 + 1] = static_cast<std::byte>(scale >> 8);
        const float s = bf16_number(scale);
        const bool is_less = double{s} * reference.levels < double{largest};
        const float inverse =
            is_less ? float(reference.levels) / largest : (s > 0 ? 1 / s : 0);
        for (std::size_t i = first; i < end && is_finite; ++i) {
            const float t = values[i] * inverse;
            const auto q = static_cast<unsigned>(
                reference_integer(reference, rounding, t, i));
            for (int bit = 0; bit < reference.bits; ++bit) {
                const std::size_t at =
                    i * static_cast<std::size_t>(reference.bits) +
                    static_cast<std::size_t>(bit);
                block[head + at / 8] |=
                    static_cast<std::byte>((q >> bit & 1) << at % 8);
            }
        }
    }
    return block;
}

Values reference_decoded(ValueFormat format,
                         Rounding rounding,
                         const Bytes& block,
                         std::size_t size) {
    const Reference reference = reference_of(format);
    const std::size_t head = scale_bytes(format, size);
    Values values;
    for (std::size_t i = 0; i < size; ++i) {
        int q = 0;
        for (int bit = 0; bit < reference.bits; ++bit) {
            const std::size_t at =
                i * static_cast<std::size_t>(reference.bits) +
                static_cast<std::size_t>(bit);
            const int one =
                std::to_integer<int>(block[head + at / 8]) >> at % 8 & 1;
            q += bit + 1 == reference.bits ? -(one << bit) : one << bit;
        }
        const std::size_t tile = i / tile_size;
        const std::uint32_t scale =
            std::to_integer<std::uint32_t>(block[2 * tile]) |
            std::to_integer<std::uint32_t>(block[2 * tile + 1]) << 8;
        const double level = rounding == Rounding::stochastic
                                 ? q - (reference_dither(i) - 0.5)
                                 : q;
        const float value =
            static_cast<float>(reference.bits == 2 ? 2 * level + 1 : level) *
            bf16_number(scale);
        values.push_back(rounding == Rounding::stochastic && std::isinf(value)
                             ? std::copysign(Limits::max(), value)
                             : value);
    }
    return values;
}

//! Tiles of what is awkward, one kind each, and all kinds in the last.
Values make_awkward() {
    const std::vector<Values> kinds = {
        {0.0f, -0.0f},
        {Limits::denorm_min(), -Limits::denorm_min(), 1e-40f, 0.0f},
        {Limits::min(), -3 * Limits::min(), 1e-41f},
        {1e-30f, -3e-31f, 1e-33f},
        {Limits::max(), -Limits::max(), 1.0f, Limits::max() / 3},
        {Limits::max() * 0.99f, 1e37f, -2e38f},
        {1.0f, -1.0f, 0.5f, -0.5f, 1.5f, -1.5f, 7.0f, -2.5f, 3.5f},
        {127.0f, 126.5f, -126.5f, 0.5f, -0.5f, 63.5f, -64.0f},
        {1e-3f, 1e3f, -1e-3f}};
    Values values;
    for (const Values& kind : kinds) {
        for (std::size_t i = 0; i < tile_size; ++i) {
            values.push_back(kind[i % kind.size()]);
        }
    }
    for (const Values& kind : kinds) {
        values.insert(values.end(), kind.begin(), kind.end());
    }
    return values;
}

TEST(ValueBlock, integers_equal_plain_loops_on_odd_sizes) {
    for (const ValueFormat format : integer_formats) {
        for (const Rounding rounding : both) {
            for (const std::size_t size : odd_sizes) {
                const Values values = make_values(size, size);

                const Bytes block = encode(format, rounding, values);

                ASSERT_EQ(block, reference_block(format, rounding, values))
                    << to_text(format) << ", " << size;
                ASSERT_EQ(
                    bits(decode(format, rounding, block, size)),
                    bits(reference_decoded(format, rounding, block, size)))
                    << to_text(format) << ", " << size;
            }
        }
    }
}

TEST(ValueBlock, integers_equal_plain_loops_on_awkward_numbers) {
    const Values values = make_awkward();
    for (const ValueFormat format : integer_formats) {
        for (const Rounding rounding : both) {
            const Bytes block = encode(format, rounding, values);

            EXPECT_EQ(block, reference_block(format, rounding, values))
                << to_text(format);
            const Values decoded =
                decode(format, rounding, block, values.size());
            EXPECT_EQ(bits(decoded),
                      bits(reference_decoded(
                          format, rounding, block, values.size())));
            EXPECT_TRUE(std::ranges::all_of(decoded, [](float x) {
                return std::isfinite(x);
            })) << to_text(format);
        }
    }
}

TEST(ValueBlock, integers_are_off_by_half_a_level_but_beyond_the_last) {
    const Values values = make_values(4097, 5);
    for (const ValueFormat format : integer_formats) {
        const Reference reference = reference_of(format);
        const Bytes block = encode(format, Rounding::nearest, values);
        const Values decoded =
            decode(format, Rounding::nearest, block, values.size());

        for (std::size_t i = 0; i < values.size(); ++i) {
            const std::uint32_t scale =
                std::to_integer<std::uint32_t>(block[i / tile_size * 2]) |
                std::to_integer<std::uint32_t>(block[i / tile_size * 2 + 1])
                    << 8;
            const double step =
                bf16_number(scale) * (reference.bits == 2 ? 2 : 1);
            const double last = bf16_number(scale) * double(reference.levels);
            const double inside = std::clamp(double{values[i]}, -last, last);
            ASSERT_LE(std::abs(decoded[i] - inside), step * 0.500001)
                << to_text(format) << " at " << i;
            EXPECT_TRUE(inside == values[i] || reference.bits < 4);
        }
    }
}

//! Normal numbers, by Box and Muller.
Values make_normal(std::size_t size) {
    Values values;
    for (std::size_t i = 0; i < size; ++i) {
        const double radius =
            std::sqrt(-2 * std::log(1 - double{draw_uniform(21, i)}));
        values.push_back(static_cast<float>(
            radius * std::cos(2 * std::numbers::pi * draw_uniform(22, i))));
    }
    return values;
}

double squared_error(ValueFormat format,
                     Rounding rounding,
                     const Values& values) {
    const Values decoded = decode(
        format, rounding, encode(format, rounding, values), values.size());
    double errors = 0;
    double squares = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const double error = double{decoded[i]} - values[i];
        errors += error * error;
        squares += double{values[i]} * values[i];
    }
    return errors / squares;
}

TEST(ValueBlock, rounds_normal_numbers_nearly_as_well_as_levels_can) {
    const Values values = make_normal(1 << 16);

    // With one scale for all tiles, levels at equal distances have at best
    // 0.0129 (15 of them), 0.0469 (7) and 0.1189 (4).
    const auto expect_errors =
        [&](ValueFormat format, double nearest, double stochastic) {
            EXPECT_NEAR(squared_error(format, Rounding::nearest, values),
                        nearest,
                        0.02 * nearest)
                << to_text(format);
            EXPECT_NEAR(squared_error(format, Rounding::stochastic, values),
                        stochastic,
                        0.02 * stochastic)
                << to_text(format);
        };
    expect_errors(ValueFormat::int8, 0.0000422, 0.0000422);
    expect_errors(ValueFormat::int6, 0.00071, 0.00071);
    expect_errors(ValueFormat::int5, 0.0030, 0.0030);
    expect_errors(ValueFormat::int4, 0.0139, 0.0139);
    expect_errors(ValueFormat::int3, 0.0456, 0.0755);
    expect_errors(ValueFormat::int2, 0.119, 0.307);
}

TEST(ValueBlock, a_few_numbers_far_out_are_kept_where_that_is_better) {
    Values values = make_normal(tile_size);
    values[7] = 60;
    for (const ValueFormat format : {ValueFormat::int4, ValueFormat::int3}) {
        const Values decoded = decode(format,
                                      Rounding::nearest,
                                      encode(format, Rounding::nearest, values),
                                      tile_size);

        EXPECT_NEAR(decoded[7], 60, 0.5) << to_text(format);
    }
}

TEST(ValueBlock, a_level_rounded_to_the_nearest_is_decoded_as_it_was) {
    constexpr std::size_t count = 1 << 20;
    for (const ValueFormat format : integer_formats) {
        const Reference reference = reference_of(format);
        Values values;
        for (std::size_t i = 0; i < count; ++i) {
            // Every scale of a binade, and every level of it.
            const auto scale =
                static_cast<std::uint32_t>(0x3F80 + i / tile_size % 128);
            int level = static_cast<int>(i % (2 * reference.levels + 1)) -
                        reference.levels;
            level += reference.bits == 2 && level % 2 == 0 ? 1 : 0;
            level = i % tile_size == 0 ? reference.levels : level;
            values.push_back(float(level) * bf16_number(scale));
        }
        EXPECT_TRUE(decode(format,
                           Rounding::nearest,
                           encode(format, Rounding::nearest, values),
                           count) == values)
            << to_text(format);
    }
}

TEST(ValueBlock, stochastic_errors_are_uniform_whatever_the_number) {
    // Enough for the least and the largest of 2^15 random numbers.
    constexpr std::size_t count = 1 << 17;
    for (const ValueFormat format : integer_formats) {
        const Reference reference = reference_of(format);
        const double step = reference.bits == 2 ? 2 : 1;
        for (const float part : {-1.0f, -0.9f, -0.31f, 0.0f, 0.5f, 0.77f}) {
            // One number of each tile makes the scale 1.
            const float x = part * float(reference.levels);
            Values values(count, x);
            for (std::size_t i = 0; i < count; i += tile_size) {
                values[i] = float(reference.levels);
            }

            const Values decoded =
                decode(format,
                       Rounding::stochastic,
                       encode(format, Rounding::stochastic, values),
                       count);

            double sum = 0;
            double squares = 0;
            std::size_t number = 0;
            for (std::size_t i = 0; i < count; ++i) {
                if (i % tile_size != 0) {
                    const double error = (decoded[i] - x) / step;
                    ASSERT_LE(std::abs(error), 0.50001);
                    sum += error;
                    squares += error * error;
                    ++number;
                }
            }
            // Four deviations of means of uniform numbers.
            const double root = std::sqrt(static_cast<double>(number));
            EXPECT_NEAR(sum / static_cast<double>(number), 0, 4 * 0.289 / root)
                << to_text(format) << " of " << x;
            EXPECT_NEAR(squares / static_cast<double>(number),
                        1.0 / 12,
                        4 * 0.075 / root)
                << to_text(format) << " of " << x;
        }
    }
}

TEST(ValueBlock, zeros_alone_stay_zeros) {
    const Values zeros(2 * tile_size + 5, 0.0f);
    for (const ValueFormat format : integer_formats) {
        for (const Rounding rounding : both) {
            EXPECT_EQ(decode(format,
                             rounding,
                             encode(format, rounding, zeros),
                             zeros.size()),
                      zeros)
                << to_text(format);
        }
    }
}

TEST(ValueBlock, stochastic_rounding_depends_on_the_key_and_the_place) {
    const Values values = make_values(2 * tile_size, 3);
    Bytes other(value_block_bytes(ValueFormat::int4, values.size()));

    encode_values(ValueFormat::int4,
                  Rounding::stochastic,
                  key + (std::uint64_t{1} << 32),
                  values,
                  other,
                  MemorySpace::host);

    EXPECT_NE(encode(ValueFormat::int4, Rounding::stochastic, values), other);
    Values twice(2 * tile_size, 0.4f);
    twice[0] = twice[tile_size] = 7;
    const Values decoded =
        decode(ValueFormat::int4,
               Rounding::stochastic,
               encode(ValueFormat::int4, Rounding::stochastic, twice),
               twice.size());
    EXPECT_NE(Values(decoded.begin(), decoded.begin() + tile_size),
              Values(decoded.begin() + tile_size, decoded.end()));
}

TEST(ValueBlock, a_tile_with_a_number_that_is_not_finite_becomes_nan) {
    for (const float bad :
         {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN()}) {
        for (const ValueFormat format : integer_formats) {
            for (const Rounding rounding : both) {
                Values values = make_values(3 * tile_size + 5, 1);
                values[tile_size + 77] = bad;
                values.back() = bad;

                const Values decoded = decode(format,
                                              rounding,
                                              encode(format, rounding, values),
                                              values.size());

                for (std::size_t i = 0; i < values.size(); ++i) {
                    const bool is_bad =
                        i / tile_size == 1 || i / tile_size == 3;
                    EXPECT_EQ(std::isnan(decoded[i]), is_bad) << i;
                }
            }
        }
    }
}

TEST(ValueBlock, f32_comes_back_bit_for_bit) {
    Values values = make_awkward();
    values.insert(values.end(),
                  {Limits::infinity(),
                   -Limits::infinity(),
                   std::bit_cast<float>(0x7F812345u),
                   std::bit_cast<float>(0xFFC00001u)});
    for (std::size_t i = 0; i < 3; ++i) {
        values.pop_back();
        const Bytes block = encode(ValueFormat::f32, Rounding::nearest, values);

        EXPECT_EQ(
            bits(decode(
                ValueFormat::f32, Rounding::nearest, block, values.size())),
            bits(values));
    }
}

//! The nearest of all 65536 numbers, ties to the even one: without any trick.
std::uint16_t nearest_f16(float x) {
    if (std::isnan(x)) {
        return 0x7E00;
    }
    const auto number = [](int bits) {
        const int exponent = bits >> 10;
        const int fraction = bits & 1023;
        return exponent == 0 ? std::ldexp(fraction, -24)
                             : std::ldexp(1024 + fraction, exponent - 25);
    };
    const double size = std::abs(double{x});
    int low = 0;
    int high = 0x7C00;  // 65536, were it a number
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        (number(middle) <= size ? low : high) = middle;
    }
    const double below = size - number(low);
    const double above = number(high) - size;
    const int nearest =
        below < above || (below == above && low % 2 == 0) ? low : high;
    return static_cast<std::uint16_t>(nearest | (std::signbit(x) ? 0x8000 : 0));
}

//! f32 at, next to and between neighbours of 16 bits.
Values make_between() {
    Values values = make_awkward();
    for (const Values& more : {make_values(500, 8)}) {
        values.insert(values.end(), more.begin(), more.end());
    }
    for (std::uint32_t i = 0; i < 0x7F80; i += 37) {
        for (const std::uint32_t low :
             {0x0000u, 0x0001u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
            values.push_back(std::bit_cast<float>(i << 16 | low));
            values.push_back(-values.back());
        }
    }
    // Ties and their neighbours of f16, its subnormals and its largest.
    for (std::uint32_t i = 0; i < 0x7C00; i += 11) {
        const int exponent = static_cast<int>(i >> 10);
        const double middle =
            exponent == 0 ? std::ldexp((i & 1023) + 0.5, -24)
                          : std::ldexp(1024.5 + (i & 1023), exponent - 25);
        const auto tie = static_cast<float>(middle);
        values.insert(
            values.end(),
            {tie, -tie, std::nextafter(tie, 0.0f), std::nextafter(tie, 1e9f)});
    }
    values.insert(values.end(), {65504.0f, 65519.99f, 65520.0f, -65536.0f});
    return values;
}

TEST(ValueBlock, f16_is_the_nearest_and_even_of_two) {
    const Values values = make_between();

    const Bytes block = encode(ValueFormat::f16, Rounding::nearest, values);
    const Values decoded =
        decode(ValueFormat::f16, Rounding::nearest, block, values.size());

    for (std::size_t i = 0; i < values.size(); ++i) {
        std::uint16_t half = 0;
        std::memcpy(&half, &block[2 * i], 2);
        ASSERT_EQ(half, nearest_f16(values[i])) << values[i];
        const int exponent = half >> 10 & 31;
        const double size =
            exponent == 31  ? Limits::infinity()
            : exponent == 0 ? std::ldexp(half & 1023, -24)
                            : std::ldexp(1024 + (half & 1023), exponent - 25);
        ASSERT_EQ(decoded[i], half & 0x8000 ? -size : size) << values[i];
    }
}

TEST(ValueBlock, bf16_is_the_nearest_and_even_of_two) {
    const Values values = make_between();

    const Values decoded =
        decode(ValueFormat::bf16,
               Rounding::nearest,
               encode(ValueFormat::bf16, Rounding::nearest, values),
               values.size());

    for (std::size_t i = 0; i < values.size(); ++i) {
        const std::uint32_t low =
            std::bit_cast<std::uint32_t>(values[i]) & 0xFFFF0000u;
        // One more may be infinite: as far away as if it were a number.
        const double below = std::bit_cast<float>(low);
        const double step =
            below - double{std::bit_cast<float>(
                        (low & 0x7FFFFFFFu) == 0 ? low : low - 0x10000u)};
        const bool is_binade =
            (low & 0x007F0000u) == 0 && (low & 0x7F800000u) > 0x00800000u;
        const double gap = (low & 0x7FFFFFFFu) == 0
                               ? std::copysign(0x1p-133, below)
                               : step * (is_binade ? 2 : 1);
        const double middle = below + gap / 2;
        const double x = values[i];
        const bool is_up = std::abs(x) > std::abs(middle) ||
                           (x == middle && (low >> 16) % 2 == 1);
        ASSERT_EQ(std::bit_cast<std::uint32_t>(decoded[i]),
                  is_up ? low + 0x10000u : low)
            << values[i];
    }
}

TEST(ValueBlock, halves_keep_nan_and_infinity) {
    const Values values = {Limits::infinity(),
                           -Limits::infinity(),
                           Limits::quiet_NaN(),
                           std::bit_cast<float>(0x7F800001u),
                           std::bit_cast<float>(0xFFFFFFFFu),
                           Limits::max()};
    for (const ValueFormat format : {ValueFormat::bf16, ValueFormat::f16}) {
        const Values decoded = decode(format,
                                      Rounding::nearest,
                                      encode(format, Rounding::nearest, values),
                                      values.size());

        EXPECT_EQ(decoded[0], Limits::infinity());
        EXPECT_EQ(decoded[1], -Limits::infinity());
        EXPECT_TRUE(std::isnan(decoded[2]));
        EXPECT_TRUE(std::isnan(decoded[3]));
        EXPECT_TRUE(std::isnan(decoded[4]));
        EXPECT_EQ(decoded[5], Limits::infinity());
    }
}

TEST(ValueBlock, pads_with_zeros_and_writes_nothing_else) {
    for (const ValueFormat format : all_formats) {
        for (const std::size_t size : odd_sizes) {
            const Values values(size, 1.0f);
            const std::size_t bytes = value_block_bytes(format, size);
            Bytes memory(bytes + 16, std::byte{0xA5});

            encode_values(format,
                          Rounding::nearest,
                          key,
                          values,
                          std::span(memory).subspan(8, bytes),
                          MemorySpace::host);

            const std::size_t head = scale_bytes(format, size);
            const std::size_t written =
                head +
                (size * static_cast<std::size_t>(value_bits(format)) + 7) / 8;
            for (std::size_t i = 0; i < memory.size(); ++i) {
                if (i < 8 || i >= 8 + bytes) {
                    ASSERT_EQ(memory[i], std::byte{0xA5}) << i;
                } else if (i >= 8 + written) {
                    ASSERT_EQ(memory[i], std::byte{0}) << i;
                }
            }
        }
    }
}

//! Bit by bit, but that a NaN may be another one.
void expect_numbers(const Values& numbers, const Values& expected) {
    ASSERT_EQ(numbers.size(), expected.size());
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const bool both_nan = std::isnan(numbers[i]) && std::isnan(expected[i]);
        EXPECT_TRUE(both_nan || std::bit_cast<std::uint32_t>(numbers[i]) ==
                                    std::bit_cast<std::uint32_t>(expected[i]))
            << i << ": " << numbers[i] << ", not " << expected[i];
    }
}

TEST(ValueBlock, any_bytes_mean_some_numbers) {
    for (const ValueFormat format : all_formats) {
        for (const std::size_t size : odd_sizes) {
            Bytes block(value_block_bytes(format, size));
            for (std::size_t i = 0; i < block.size(); ++i) {
                block[i] = static_cast<std::byte>(draw_uniform(size, i) * 256);
            }
            for (const Rounding rounding : both) {
                Values memory(size + 2, -77.0f);

                decode_values(format,
                              rounding,
                              key,
                              block,
                              std::span(memory).subspan(1, size),
                              MemorySpace::host);

                EXPECT_EQ(memory.front(), -77.0f);
                EXPECT_EQ(memory.back(), -77.0f);
                if (has_scales(format)) {
                    expect_numbers(
                        Values(memory.begin() + 1, memory.end() - 1),
                        reference_decoded(format, rounding, block, size));
                }
            }
        }
    }
}

TEST(ValueBlock, is_the_same_twice_and_at_any_address) {
    const Values values = make_values(1000, 2);
    Values shifted = values;
    shifted.insert(shifted.begin(), 9.0f);
    for (const ValueFormat format : all_formats) {
        for (const Rounding rounding : both) {
            const Bytes block = encode(format, rounding, values);
            Bytes memory(block.size() + 3);

            encode_values(format,
                          rounding,
                          key,
                          std::span(shifted).subspan(1),
                          std::span(memory).subspan(3),
                          MemorySpace::host);

            EXPECT_EQ(encode(format, rounding, values), block);
            EXPECT_EQ(Bytes(memory.begin() + 3, memory.end()), block);
        }
    }
}

TEST(ValueBlock, says_so_when_kokkos_cannot_reach_the_memory) {
    if (kokkos_has_cuda()) {
        GTEST_SKIP() << "this Kokkos reaches CUDA memory";
    }
    Values values(4);
    Bytes block(16);

    EXPECT_THROW(encode_values(ValueFormat::f32,
                               Rounding::nearest,
                               key,
                               values,
                               block,
                               MemorySpace::cuda),
                 Error);
    EXPECT_THROW(decode_values(ValueFormat::f32,
                               Rounding::nearest,
                               key,
                               block,
                               values,
                               MemorySpace::cuda),
                 Error);
}

}  // namespace
}  // namespace fusionllm::test
