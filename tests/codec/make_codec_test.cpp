#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "fusionllm/codec/codec.hpp"
#include "fusionllm/util/error.hpp"

#include "kokkos_environment.hpp"

namespace fusionllm::test {
namespace {

constexpr MatrixShape shape{12, 80};

void make(const CodecChoice& choice) {
    make_codec(choice, shape, MemorySpace::host);
}

CodecChoice parse(const char* text) {
    return parse_codec_choice(text, 10);
}

TEST(MakeCodec, makes_what_the_choice_says) {
    for (const char* text : {"fp32",
                             "int8",
                             "top_k(10,int4)",
                             "top_k_row(10,int4)",
                             "subspace(10,int4)",
                             "paper(10)",
                             "subspace(10,int4/int3s)+feedback"}) {
        const CodecChoice choice = parse(text);
        const auto codec = make_codec(choice, shape, MemorySpace::host);

        CodecPair pair = resolve(choice, shape);
        pair.forward.carries_basis = choice.id == CodecId::subspace;
        EXPECT_EQ(codec->spec(Direction::forward, {}), pair.forward) << text;
        EXPECT_EQ(codec->spec(Direction::backward, {}), pair.backward) << text;
    }
}

TEST(MakeCodec, refuses_directions_that_do_not_belong_together) {
    CodecChoice masked;
    masked.id = CodecId::masked;
    CodecChoice paper = parse("paper(10)");
    paper.backward.format = ValueFormat::int4;
    CodecChoice dense = parse("fp32");
    dense.forward.format = ValueFormat::int8;
    CodecChoice native = parse("fp32");
    native.backward.format = ValueFormat::native;
    CodecChoice rounded = parse("top_k(10,int4)");
    rounded.backward = {ValueFormat::bf16, Rounding::stochastic};

    for (const CodecChoice& choice : {masked, paper, dense, native, rounded}) {
        EXPECT_THROW(make(choice), InputError) << to_text(choice);
    }
}

TEST(MakeCodec, refuses_ratios_that_are_none) {
    for (const double ratio : {0.5,
                               -1.0,
                               std::numeric_limits<double>::infinity(),
                               std::numeric_limits<double>::quiet_NaN()}) {
        CodecChoice choice = parse("top_k(10,int4)");
        choice.element_ratio = ratio;

        EXPECT_THROW(make(choice), InputError) << ratio;
    }
}

TEST(MakeCodec, says_what_is_wrong_and_what_to_try) {
    CodecChoice choice = parse("paper(10)");
    choice.forward.format = ValueFormat::int4;
    try {
        make(choice);
        FAIL() << "it was made";
    } catch (const InputError& error) {
        const std::string text = error.what();
        EXPECT_NE(text.find("paper(10)"), std::string::npos) << text;
        EXPECT_NE(text.find("12 x 80"), std::string::npos) << text;
        EXPECT_NE(text.find("fp32 both ways"), std::string::npos) << text;
        EXPECT_NE(text.find("try"), std::string::npos) << text;
    }
}

}  // namespace
}  // namespace fusionllm::test
