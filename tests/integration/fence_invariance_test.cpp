// Law 1 with compression: losses, gradients, parameters and codec state are
// bitwise equal for every number of stages with the same fences.

#include <bit>

#include <gtest/gtest.h>

#include "training.hpp"

namespace fusionllm::test {
namespace {

//! At four cuts, of which a stage has none, one or several, or ends there.
std::vector<Fence> make_fences(const OpGraph& graph, const std::string& codec) {
    std::vector<Fence> fences;
    for (const std::size_t share : {1, 2, 3, 4}) {
        const std::size_t cut = share * graph.ops().size() / 5;
        for (const ValueId value : compressible_values(graph, cut)) {
            fences.push_back({cut, value, parse_codec_choice(codec, 4)});
        }
    }
    return fences;
}

TrainingCase make_case(const std::string& codec) {
    TrainingCase training = make_hard_case();
    training.fences = [codec](const OpGraph& graph) {
        return make_fences(graph, codec);
    };
    training.options.steps = 4;
    training.measure_every = 2;
    return training;
}

std::uint64_t bits(double value) {
    return std::bit_cast<std::uint64_t>(value);
}

void expect_same(const TrainingResult& actual, const TrainingResult& expected) {
    ASSERT_EQ(actual.metrics.size(), expected.metrics.size());
    for (std::size_t i = 0; i < expected.metrics.size(); ++i) {
        const StepMetrics& a = actual.metrics[i];
        const StepMetrics& e = expected.metrics[i];
        EXPECT_EQ(bits(a.loss), bits(e.loss)) << "loss of step " << e.step;
        EXPECT_EQ(bits(a.grad_norm), bits(e.grad_norm)) << "step " << e.step;
        EXPECT_EQ(a.validation_loss, e.validation_loss);
        ASSERT_EQ(a.fences.size(), e.fences.size());
        for (std::size_t f = 0; f < e.fences.size(); ++f) {
            EXPECT_EQ(a.fences[f].bytes, e.fences[f].bytes);
            EXPECT_EQ(a.fences[f].error, e.fences[f].error)
                << "fence " << f << " of step " << e.step;
            EXPECT_TRUE(e.fences[f].error.has_value());
        }
    }
    ASSERT_EQ(actual.tensors.size(), expected.tensors.size());
    for (const auto& [name, tensor] : expected.tensors) {
        EXPECT_EQ(actual.tensors.at(name), tensor) << name;
    }
}

class FenceInvariance : public testing::TestWithParam<const char*> {};

TEST_P(FenceInvariance, gives_the_bits_of_one_stage) {
    const TrainingResult expected = train(make_case(GetParam()));
    ASSERT_FALSE(expected.metrics.front().fences.empty());

    for (const int ranks : {2, 3, 5}) {
        TrainingCase training = make_case(GetParam());
        training.ranks = ranks;
        training.schedule = ranks == 3 ? "gpipe" : "1f1b";
        const TrainingResult actual = train(training);

        SCOPED_TRACE(ranks);
        expect_same(actual, expected);
    }
}

TEST_P(FenceInvariance, changes_the_numbers_unless_nothing_is_lost) {
    TrainingCase dense = make_case(GetParam());
    dense.fences = {};
    const double with = train(make_case(GetParam())).metrics.back().loss;
    const double without = train(dense).metrics.back().loss;

    if (std::string(GetParam()) == "fp32") {
        EXPECT_EQ(bits(with), bits(without));
    } else {
        EXPECT_NE(bits(with), bits(without));
    }
}

INSTANTIATE_TEST_SUITE_P(Codecs,
                         FenceInvariance,
                         testing::Values("fp32",
                                         "bf16",
                                         "fp16",
                                         "int8",
                                         "int4/int3s",
                                         "int3s/int2s",
                                         "top_k(10,int4)",
                                         "top_k(3,fp32)",
                                         "top_k_row(8,int8/int4s)",
                                         "subspace(4,int4)",
                                         "subspace(2,graded)",
                                         "subspace(4,graded5)",
                                         "int6/int5s",
                                         "paper(10)",
                                         "top_k(10,int4)+feedback"),
                         [](const auto& info) {
                             std::string name = info.param;
                             for (char& c : name) {
                                 c = std::isalnum(c) ? c : '_';
                             }
                             return name;
                         });

}  // namespace
}  // namespace fusionllm::test
