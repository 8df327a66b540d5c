#include "fusionllm/runtime/codec_probe.hpp"

#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "training.hpp"

namespace fusionllm::test {
namespace {

constexpr MatrixShape shape{64, 32};

std::vector<float> random_numbers(unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> numbers(shape.size());
    for (float& number : numbers) {
        number = normal(random);
    }
    return numbers;
}

std::vector<CodecChoice> choices(const std::vector<const char*>& texts) {
    std::vector<CodecChoice> codecs;
    for (const char* text : texts) {
        codecs.push_back(parse_codec_choice(text, 1));
    }
    return codecs;
}

class CodecProbeTest : public testing::Test {
protected:
    void SetUp() override { start_kokkos(); }
};

TEST(RelativeError, is_that_of_the_difference) {
    const std::vector<float> x{3, 4};
    const std::vector<float> y{3, 0};

    EXPECT_DOUBLE_EQ(relative_error(x, y), 0.8);
    EXPECT_DOUBLE_EQ(relative_error(x, x), 0);
    EXPECT_DOUBLE_EQ(relative_error(std::vector<float>{0, 0}, x), 5);
    EXPECT_DOUBLE_EQ(cosine(x, y), 0.6);
    EXPECT_DOUBLE_EQ(cosine(x, std::vector<float>{0, 0}), 0);
    EXPECT_DOUBLE_EQ(cosine(std::vector<float>{0, 0}, std::vector<float>{0, 0}),
                     1);
}

TEST_F(CodecProbeTest, finds_forward_errors_in_the_order_of_the_codecs) {
    CodecProbe probe(choices({"fp32", "int8", "int4", "int2"}));

    probe.try_forward(9, ValueId(4), shape, {}, random_numbers(1));

    const auto errors = probe.take_errors();
    ASSERT_EQ(errors.size(), 4U);
    EXPECT_EQ(errors[0].cut, 9U);
    EXPECT_EQ(errors[0].value, ValueId(4));
    EXPECT_EQ(errors[0].direction, Direction::forward);
    EXPECT_EQ(errors[0].error, 0);
    for (std::size_t i = 1; i < errors.size(); ++i) {
        EXPECT_GT(errors[i].error, errors[i - 1].error);
    }
    EXPECT_TRUE(probe.take_errors().empty());
}

TEST_F(CodecProbeTest, tries_gradients_with_the_mask_of_what_was_decoded) {
    CodecProbe probe(choices({"top_k(4,fp32)"}));
    std::vector<float> numbers = random_numbers(1);
    std::vector<float> gradient = random_numbers(2);
    // All of the gradient lies where the numbers are large.
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const bool is_large = i % 4 == 0;
        numbers[i] = is_large ? 100 + numbers[i] : numbers[i];
        gradient[i] = is_large ? gradient[i] : 0;
    }

    probe.prepare_backward(9, ValueId(4), shape, {}, numbers);
    probe.try_backward(9, ValueId(4), {}, gradient);

    const auto errors = probe.take_errors();
    ASSERT_EQ(errors.size(), 1U);
    EXPECT_EQ(errors[0].direction, Direction::backward);
    EXPECT_EQ(errors[0].error, 0);
}

TEST_F(CodecProbeTest, keeps_the_fences_of_a_stage_apart) {
    CodecProbe probe(choices({"subspace(4,fp32)"}));
    const auto first = random_numbers(1);
    const auto second = random_numbers(2);

    probe.prepare_backward(9, ValueId(4), shape, {}, first);
    probe.prepare_backward(11, ValueId(4), shape, {}, second);
    probe.try_backward(11, ValueId(4), {}, second);
    probe.try_backward(9, ValueId(4), {}, second);

    const auto errors = probe.take_errors();
    ASSERT_EQ(errors.size(), 2U);
    // Its own components hold more of it than those of other numbers.
    EXPECT_LT(errors[0].error, errors[1].error);
}

}  // namespace
}  // namespace fusionllm::test
