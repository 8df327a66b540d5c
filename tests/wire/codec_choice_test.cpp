#include "fusionllm/wire/codec_choice.hpp"

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

TEST(CodecChoice, text_comes_back_as_it_was) {
    for (const char* text : {"fp32",
                             "bf16",
                             "int4/int3s",
                             "fp32/int4",
                             "int8/bf16",
                             "top_k(100,int4)",
                             "top_k(12.5,fp16/int3s)",
                             "top_k_row(32,int8)",
                             "subspace(16,int4)",
                             "subspace(16,graded/int3s)",
                             "subspace(12,graded5/int4s)",
                             "subspace(8,graded6/int2s)",
                             "int6/int5s",
                             "paper(3.2)",
                             "top_k(10,int4)+feedback"}) {
        EXPECT_EQ(to_text(parse_codec_choice(text, 1)), text);
    }
}

TEST(CodecChoice, leaves_out_what_is_usual) {
    EXPECT_EQ(to_text(parse_codec_choice("top_k", 50)), "top_k(50,int4)");
    EXPECT_EQ(to_text(parse_codec_choice("subspace(8)", 50)),
              "subspace(8,int4)");
    EXPECT_EQ(to_text(parse_codec_choice("subspace(8,graded)", 50)),
              "subspace(8,graded/int4s)");
    EXPECT_EQ(to_text(parse_codec_choice("subspace(8,graded5)", 50)),
              "subspace(8,graded5/int3s)");
    EXPECT_EQ(to_text(parse_codec_choice("subspace(8,graded6)", 50)),
              "subspace(8,graded6/int2s)");
    EXPECT_EQ(to_text(parse_codec_choice("paper", 300)), "paper(300)");
}

TEST(CodecChoice, refuses_what_is_no_codec) {
    for (const char* text : {"",
                             "int7",
                             "int4s/",
                             "fp32s",
                             "top_k(",
                             "top_k(0.5)",
                             "top_k(nan,int4)",
                             "top_k(x,int4)",
                             "top_k(10,int7)",
                             "paper(3,int4)",
                             "graded",
                             "graded6",
                             "int4/graded",
                             "subspace(8,graded/graded5)",
                             "top_k(8,graded)",
                             "subspace(8,int4/graded)",
                             "subspace(-1)"}) {
        EXPECT_THROW(parse_codec_choice(text, 1), InputError) << text;
    }
}

TEST(CodecChoice, keeps_the_share_it_says_and_at_least_one) {
    const auto kept = [](const char* text, MatrixShape shape) {
        return resolve(parse_codec_choice(text, 1), shape).forward.kept;
    };

    EXPECT_EQ(kept("top_k(100)", {32, 128}), 41U);
    EXPECT_EQ(kept("top_k_row(100)", {32, 128}), 32U);
    EXPECT_EQ(kept("top_k(1)", {32, 128}), 4096U);
    EXPECT_EQ(kept("top_k(1e9)", {32, 128}), 1U);
    EXPECT_EQ(kept("subspace(16)", {32, 128}), 8U);
}

TEST(CodecChoice, shares_the_mask_backward) {
    const CodecPair pair =
        resolve(parse_codec_choice("top_k(100,int4/int3s)", 1), {32, 128});

    EXPECT_EQ(pair.forward.id, CodecId::top_k);
    EXPECT_EQ(pair.backward.id, CodecId::masked);
    EXPECT_EQ(pair.backward.kept, pair.forward.kept);
    EXPECT_EQ(pair.backward.values, ValueFormat::int3);
    EXPECT_EQ(pair.backward.rounding, Rounding::stochastic);
}

TEST(CodecChoice, sends_nothing_special_of_nothing) {
    const CodecPair pair = resolve(parse_codec_choice("top_k(100)", 1), {0, 0});

    EXPECT_EQ(payload_bytes(pair.forward, {0, 0}), 0U);
}

TEST(CodecChoice, knows_its_byte_ratio) {
    const MatrixShape shape{1024, 1024};
    const auto ratio = [&](const char* text) {
        return byte_ratio(parse_codec_choice(text, 1), shape);
    };

    EXPECT_DOUBLE_EQ(ratio("fp32"), 1);
    EXPECT_DOUBLE_EQ(ratio("bf16"), 2);
    EXPECT_NEAR(ratio("int8"), 4 / (1 + 2.0 / 128), 1e-6);
    EXPECT_NEAR(ratio("int4"), 4 / (0.5 + 2.0 / 128), 1e-6);
    EXPECT_NEAR(ratio("paper(300)"), 100, 0.01);
    EXPECT_GT(ratio("top_k(100,int4)"), 10 * ratio("paper(100)"));
}

}  // namespace
}  // namespace fusionllm::test
