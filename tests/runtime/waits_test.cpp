// A run that waits in place of computing: the messages of a real one, the
// seconds that it is told, and no numbers.

#include <gtest/gtest.h>

#include "training.hpp"

namespace fusionllm::test {
namespace {

constexpr StageSeconds no_time{};

TrainingCase make_case(int ranks) {
    TrainingCase training = make_hard_case();
    training.ranks = ranks;
    training.schedule = "1f1b";
    training.options.steps = 3;
    training.options.evaluate_every = 0;
    return training;
}

StageWaits wait_for(const StageSeconds& seconds, int ranks) {
    const auto estimate = [=](const std::vector<Fence>&) {
        return std::vector<StageSeconds>(static_cast<std::size_t>(ranks),
                                         seconds);
    };
    return {StageWaits::Kind::in_place_of_computing, estimate};
}

//! At every cut, so at the ends of the stages, too.
std::vector<Fence> fence_everything(const OpGraph& graph,
                                    const CodecChoice& codec) {
    std::vector<Fence> fences;
    for (std::size_t cut = 1; cut < graph.ops().size(); ++cut) {
        for (const ValueId value : compressible_values(graph, cut)) {
            fences.push_back({cut, value, codec});
        }
    }
    return fences;
}

TEST(Waits, send_the_bytes_of_a_real_run) {
    for (const int ranks : {1, 2, 4}) {
        TrainingCase training = make_case(ranks);
        const auto real = train(training).traffic;
        training.waits = wait_for(no_time, ranks);

        EXPECT_EQ(train(training).traffic, real) << ranks << " ranks";
    }
}

TEST(Waits, send_the_bytes_of_every_codec) {
    for (const char* codec :
         {"int4/int3s", "top_k(10,int4)", "subspace(4,int8)", "paper(3)"}) {
        TrainingCase training = make_case(3);
        training.fences = [&](const OpGraph& graph) {
            return fence_everything(graph, parse_codec_choice(codec, 1));
        };
        const auto real = train(training).traffic;
        training.waits = wait_for(no_time, 3);

        EXPECT_EQ(train(training).traffic, real) << codec;
    }
}

TEST(Waits, have_no_numbers) {
    TrainingCase training = make_case(2);
    training.options.evaluate_every = 1;
    training.waits = wait_for(no_time, 2);
    training.load_data = []() -> DatasetSplit {
        throw std::logic_error("nobody reads data");
    };

    const TrainingResult result = train(training);

    ASSERT_EQ(result.metrics.size(), 3u);
    for (const StepMetrics& metrics : result.metrics) {
        EXPECT_FALSE(metrics.has_numbers);
        EXPECT_FALSE(metrics.validation_loss);
        EXPECT_EQ(metrics.skipped, "");
    }
    EXPECT_TRUE(result.tensors.empty());
}

TEST(Waits, take_the_seconds_of_the_schedule) {
    TrainingCase training = make_case(2);
    training.waits = wait_for({4e-3, 8e-3, 5e-3}, 2);

    const TrainingResult result = train(training);

    // 2 stages, 4 micro-batches: (4 + 2 - 1) of each, and the update. What the
    // machine adds nobody knows.
    for (const StepMetrics& metrics : result.metrics) {
        EXPECT_GE(metrics.step_s, 5 * 12e-3 + 5e-3);
    }
}

TEST(Waits, change_no_bit_after_computing) {
    const TrainingResult plain = train(make_case(2));
    TrainingCase training = make_case(2);
    training.waits = wait_for({2e-2, 3e-2, 1e-2}, 2);
    training.waits->kind = StageWaits::Kind::after_computing;

    const TrainingResult paced = train(training);

    EXPECT_EQ(paced.tensors, plain.tensors);
    ASSERT_EQ(paced.metrics.size(), plain.metrics.size());
    for (std::size_t i = 0; i < plain.metrics.size(); ++i) {
        EXPECT_EQ(paced.metrics[i].loss, plain.metrics[i].loss);
        EXPECT_GE(paced.metrics[i].step_s, 5 * 5e-2 + 1e-2);
    }
}

}  // namespace
}  // namespace fusionllm::test
