#include "fusionllm/codec/graded_bits.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/wire/codec_spec.hpp"

namespace fusionllm::test {
namespace {

using Bits = std::vector<std::uint8_t>;

std::size_t most_bytes(ValueFormat graded,
                       std::size_t vectors,
                       std::uint64_t rows) {
    return vectors * value_block_bytes(graded, rows);
}

TEST(GradedBits, equal_vectors_have_as_many_each) {
    const std::vector<double> squares(5, 2.5);
    EXPECT_EQ(grade_bits(ValueFormat::graded, squares, 128), Bits(5, 4));
    EXPECT_EQ(grade_bits(ValueFormat::graded5, squares, 128), Bits(5, 5));
    EXPECT_EQ(grade_bits(ValueFormat::graded6, squares, 128), Bits(5, 6));
}

TEST(GradedBits, large_vectors_have_more_and_small_ones_less) {
    const std::vector<double> squares{1e-9, 1e6, 1, 1e3, 0};

    const Bits bits = grade_bits(ValueFormat::graded, squares, 1024);

    EXPECT_EQ(bits, (Bits{0, 8, 4, 8, 0}));
    EXPECT_LE(graded_bytes(bits, 1024),
              most_bytes(ValueFormat::graded, 5, 1024));
}

TEST(GradedBits, never_take_more_bytes_than_the_format) {
    for (const ValueFormat graded :
         {ValueFormat::graded, ValueFormat::graded5, ValueFormat::graded6}) {
        for (const std::uint64_t rows : {1u, 2u, 7u, 129u, 1000u}) {
            for (const double slope : {1.0, 0.99, 0.7, 0.1}) {
                std::vector<double> squares(40, 1.0);
                for (std::size_t j = 1; j < squares.size(); ++j) {
                    squares[j] = squares[j - 1] * slope;
                }
                const Bits bits = grade_bits(graded, squares, rows);

                EXPECT_EQ(find_bits_problem(graded, bits, rows), "") << rows;
                // A byte more would not have done: little is left over.
                EXPECT_GT(graded_bytes(bits, rows) +
                              value_block_bytes(ValueFormat::int8, rows),
                          most_bytes(graded, 40, rows));
                EXPECT_TRUE(std::is_sorted(bits.rbegin(), bits.rend()));
            }
        }
    }
}

TEST(GradedBits, nothing_to_go_by_is_as_many_bits_for_all) {
    const std::vector<double> none(3, 0.0);
    EXPECT_EQ(grade_bits(ValueFormat::graded, none, 64), Bits(3, 4));
    EXPECT_EQ(grade_bits(ValueFormat::graded6, none, 64), Bits(3, 6));
}

TEST(GradedBits, what_is_not_finite_comes_first) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double infinity = std::numeric_limits<double>::infinity();

    EXPECT_EQ(grade_bits(
                  ValueFormat::graded, std::vector<double>{1.0, nan, 1.0}, 128),
              (Bits{2, 8, 2}));
    EXPECT_EQ(
        grade_bits(
            ValueFormat::graded, std::vector<double>{infinity, 1.0, 1.0}, 128),
        (Bits{8, 2, 2}));
}

TEST(GradedBits, says_what_no_message_can_have) {
    EXPECT_EQ(find_bits_problem(ValueFormat::graded, Bits{8, 0, 4}, 100), "");
    EXPECT_NE(find_bits_problem(ValueFormat::graded, Bits{8, 8, 0}, 100), "");
    EXPECT_NE(find_bits_problem(ValueFormat::graded, Bits{5}, 100), "");
}

}  // namespace
}  // namespace fusionllm::test
