#include "fusionllm/wire/codec_spec.hpp"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace fusionllm::test {
namespace {

MatrixShape shape_of(std::vector<std::int64_t> sizes) {
    return matrix_shape({DType::f32, std::move(sizes)});
}

TEST(MatrixShape, has_rows_as_long_as_the_last_dimension) {
    EXPECT_EQ(shape_of({8, 64, 128}), (MatrixShape{512, 128}));
}

TEST(MatrixShape, joins_short_dimensions) {
    EXPECT_EQ(shape_of({2, 256, 7, 7}), (MatrixShape{512, 49}));
    EXPECT_EQ(shape_of({2, 3}), (MatrixShape{1, 6}));
    EXPECT_EQ(shape_of({}), (MatrixShape{1, 1}));
    EXPECT_EQ(shape_of({4, 0}), (MatrixShape{0, 0}));
}

//! log2 of the number of ways to choose k of n.
double log2_choose(double n, double k) {
    return (std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1)) /
           std::log(2);
}

TEST(IndexLayout, is_near_the_least_number_of_bits) {
    for (const std::uint64_t n : {1u << 16, 1u << 20, 1u << 22}) {
        for (const std::uint64_t ratio : {2u, 10u, 30u, 100u, 300u}) {
            const std::uint64_t k = n / ratio;

            const double bits = 8.0 * index_layout(n, k).bytes();

            EXPECT_LE(bits, 1.15 * log2_choose(n, k) + 128)
                << n << " / " << ratio;
        }
    }
}

TEST(IndexLayout, needs_nothing_for_none_and_all) {
    EXPECT_EQ(index_layout(1000, 0).bytes(), 0U);
    EXPECT_EQ(index_layout(1000, 1000).bytes(), 0U);
    EXPECT_EQ(index_layout(0, 0).bytes(), 0U);
}

TEST(PayloadBytes, are_those_of_the_parts) {
    const MatrixShape shape{10, 100};
    CodecSpec spec;
    spec.id = CodecId::quantised;
    spec.values = ValueFormat::int3;
    // 8 tiles take 16 bytes, 3,000 bits 375, rounded up to 376.
    EXPECT_EQ(payload_bytes(spec, shape), 16U + 376U);

    spec.id = CodecId::subspace;
    spec.kept = 4;
    spec.values = ValueFormat::int4;
    // 2 bytes and 4 bits for each of 10 rows, in whole words.
    EXPECT_EQ(payload_bytes(spec, shape), 8 + 4U * (8 + 8));
    spec.carries_basis = true;
    EXPECT_EQ(payload_bytes(spec, shape), 100U * 4 * 2 + 8 + 4U * (8 + 8));
    spec.values = ValueFormat::graded;
    EXPECT_EQ(payload_bytes(spec, shape), 101U * 4 * 2 + 8 + 4U * (8 + 8));
    spec.values = ValueFormat::graded5;
    EXPECT_EQ(payload_bytes(spec, {100, 100}),
              101U * 4 * 2 + 56 + 4U * (8 + 64));
    spec.values = ValueFormat::graded6;
    EXPECT_EQ(payload_bytes(spec, {100, 100}),
              101U * 4 * 2 + 56 + 4U * (8 + 80));
    spec.rows_differ = true;  // 8 bits
    EXPECT_EQ(payload_bytes(spec, {100, 100}),
              101U * 4 * 2 + 104 + 4U * (8 + 80));
    spec.rows_differ = false;
    spec.values = ValueFormat::f32;
    EXPECT_EQ(payload_bytes(spec, shape), 100U * 4 * 2 + 4U * 40);

    spec = {};
    spec.id = CodecId::paper_top_k;
    spec.values = ValueFormat::f32;
    spec.kept = 3;
    EXPECT_EQ(payload_bytes(spec, shape), 24U + 16U);
}

TEST(FindSpecProblem, names_what_cannot_be) {
    const MatrixShape shape{10, 100};
    const auto is_bad = [&](CodecSpec spec) {
        return !find_spec_problem(spec, shape).empty();
    };
    const CodecSpec top_k{
        .id = CodecId::top_k, .values = ValueFormat::int4, .kept = 20};
    ASSERT_FALSE(is_bad(top_k));

    CodecSpec bad = top_k;
    bad.kept = 1001;
    EXPECT_TRUE(is_bad(bad));
    bad = top_k;
    bad.selection = Selection::row;
    bad.kept = 21;
    EXPECT_TRUE(is_bad(bad));
    bad = top_k;
    bad.values = ValueFormat::native;
    EXPECT_TRUE(is_bad(bad));
    bad = top_k;
    bad.carries_basis = true;
    EXPECT_TRUE(is_bad(bad));
    bad = top_k;
    bad.rows_differ = true;
    EXPECT_TRUE(is_bad(bad));
    bad = top_k;
    bad.id = CodecId::quantised;
    EXPECT_TRUE(is_bad(bad));
    bad = top_k;
    bad.id = CodecId::subspace;
    bad.kept = 101;
    EXPECT_TRUE(is_bad(bad));
    bad = top_k;
    bad.values = ValueFormat::bf16;
    bad.rounding = Rounding::stochastic;
    EXPECT_TRUE(is_bad(bad));
    EXPECT_TRUE(is_bad({.id = CodecId::dense, .values = ValueFormat::int4}));
    EXPECT_TRUE(is_bad({.id = static_cast<CodecId>(200)}));
}

}  // namespace
}  // namespace fusionllm::test
