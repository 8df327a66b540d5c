// A step with a number that is not finite changes nothing, on any rank.

#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "training.hpp"

namespace fusionllm::test {
namespace {

TrainingCase make_case(int ranks) {
    TrainingCase training = make_hard_case();
    training.ranks = ranks;
    training.options.evaluate_every = 0;
    return training;
}

//! What a run starts from.
std::map<std::string, HostTensor> initial_tensors() {
    TrainingCase training = make_case(1);
    training.options.steps = 0;
    return train(training).tensors;
}

//! The tensors of a start with a NaN in the middle of the network.
std::map<std::string, HostTensor> tensors_with_nan() {
    auto tensors = initial_tensors();
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(tensors.at("parameters/h.1.mlp.c_fc.bias").bytes.data() + 8,
                &nan,
                sizeof nan);
    return tensors;
}

class NonFiniteOnRanks : public testing::TestWithParam<int> {};

TEST_P(NonFiniteOnRanks, parameters_skip_all_steps_and_stay_as_they_were) {
    const auto tensors = tensors_with_nan();
    TrainingCase training = make_case(GetParam());
    training.load = [&](const std::string& name) { return tensors.at(name); };

    const TrainingResult result = train(training);

    ASSERT_EQ(result.metrics.size(), 3U);
    for (const StepMetrics& metrics : result.metrics) {
        EXPECT_NE(metrics.skipped, "") << "step " << metrics.step;
        EXPECT_FALSE(std::isfinite(metrics.loss));
    }
    EXPECT_EQ(result.tensors, tensors);
}

TEST_P(NonFiniteOnRanks, updates_end_the_updates) {
    TrainingCase training = make_case(GetParam());
    training.options.optimizer.kind = "sgd";
    training.options.learning_rate.peak = 1e38;
    training.options.steps = 1;
    const TrainingResult once = train(training);
    training.options.steps = 3;

    const TrainingResult thrice = train(training);

    EXPECT_EQ(thrice.metrics[0].skipped, "");
    EXPECT_NE(thrice.metrics[1].skipped, "");
    EXPECT_NE(thrice.metrics[2].skipped, "");
    EXPECT_EQ(thrice.tensors, once.tensors);
}

INSTANTIATE_TEST_SUITE_P(Ranks,
                         NonFiniteOnRanks,
                         testing::Values(1, 3, 5),
                         testing::PrintToStringParamName());

TEST(NonFinite, boundary_values_are_named_with_their_stage) {
    const auto tensors = tensors_with_nan();
    TrainingCase training = make_case(5);
    training.load = [&](const std::string& name) { return tensors.at(name); };

    const std::string reason = train(training).metrics.front().skipped;

    EXPECT_NE(reason.find("boundary value 'h.1.mlp"), std::string::npos)
        << reason;
    EXPECT_NE(reason.find("of micro-batch 0"), std::string::npos) << reason;
    EXPECT_NE(reason.find("of stage "), std::string::npos) << reason;
}

TEST(NonFinite, ops_are_named_on_request_equally_on_any_number_of_ranks) {
    const auto tensors = tensors_with_nan();
    for (const int ranks : {1, 4}) {
        TrainingCase training = make_case(ranks);
        training.options.check_ops = true;
        training.load = [&](const std::string& name) {
            return tensors.at(name);
        };

        const std::string reason = train(training).metrics.front().skipped;

        EXPECT_TRUE(reason.starts_with("op 'h.1.mlp.c_fc' of stage "))
            << reason;
    }
}

TEST(NonFinite, one_stage_names_the_loss) {
    const auto tensors = tensors_with_nan();
    TrainingCase training = make_case(1);
    training.load = [&](const std::string& name) { return tensors.at(name); };

    EXPECT_EQ(train(training).metrics.front().skipped, "the loss");
}

TEST(NonFinite, training_goes_on_from_where_it_was_when_nothing_is_wrong) {
    const auto tensors = initial_tensors();
    TrainingCase training = make_case(3);
    const TrainingResult expected = train(training);
    training.load = [&](const std::string& name) { return tensors.at(name); };

    const TrainingResult actual = train(training);

    EXPECT_EQ(actual.tensors, expected.tensors);
}

}  // namespace
}  // namespace fusionllm::test
