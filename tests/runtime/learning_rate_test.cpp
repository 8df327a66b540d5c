#include <gtest/gtest.h>

#include "fusionllm/runtime/train_options.hpp"

namespace fusionllm::test {
namespace {

LearningRate make_cosine() {
    LearningRate rate;
    rate.peak = 2;
    rate.schedule = "cosine";
    rate.warmup_steps = 10;
    rate.final_fraction = 0.25;
    return rate;
}

TEST(LearningRate, stays_at_its_peak_when_constant) {
    LearningRate rate;
    rate.peak = 0.5;

    EXPECT_EQ(learning_rate_at(rate, 0, 100), 0.5);
    EXPECT_EQ(learning_rate_at(rate, 99, 100), 0.5);
}

TEST(LearningRate, warms_up_in_equal_parts_and_never_wastes_a_step) {
    for (const char* const schedule : {"constant", "cosine"}) {
        LearningRate rate = make_cosine();
        rate.schedule = schedule;

        EXPECT_DOUBLE_EQ(learning_rate_at(rate, 0, 100), 0.2) << schedule;
        EXPECT_DOUBLE_EQ(learning_rate_at(rate, 4, 100), 1.0) << schedule;
        EXPECT_DOUBLE_EQ(learning_rate_at(rate, 9, 100), 2.0) << schedule;
        EXPECT_DOUBLE_EQ(learning_rate_at(rate, 10, 100), 2.0) << schedule;
    }
}

TEST(LearningRate, falls_by_a_cosine_to_its_final_fraction) {
    const LearningRate rate = make_cosine();

    EXPECT_NEAR(learning_rate_at(rate, 55, 100), (2 + 0.5) / 2, 1e-12);
    EXPECT_NEAR(learning_rate_at(rate, 100, 100), 0.5, 1e-12);
    for (int step = 11; step <= 100; ++step) {
        EXPECT_LT(learning_rate_at(rate, step, 100),
                  learning_rate_at(rate, step - 1, 100))
            << step;
    }
}

TEST(LearningRate, keeps_its_final_value_after_the_decay) {
    LearningRate rate = make_cosine();
    rate.decay_steps = 40;

    EXPECT_NEAR(learning_rate_at(rate, 25, 100), 1.25, 1e-12);
    EXPECT_NEAR(learning_rate_at(rate, 40, 100), 0.5, 1e-12);
    EXPECT_NEAR(learning_rate_at(rate, 99, 100), 0.5, 1e-12);
}

TEST(LearningRate, does_not_depend_on_the_run_s_length_with_decay_steps) {
    LearningRate rate = make_cosine();
    rate.decay_steps = 40;

    for (const int step : {0, 12, 39, 70}) {
        EXPECT_EQ(learning_rate_at(rate, step, 100),
                  learning_rate_at(rate, step, 1000));
    }
}

TEST(LearningRate, is_defined_when_the_warm_up_is_all_there_is) {
    LearningRate rate = make_cosine();
    rate.decay_steps = 10;

    EXPECT_DOUBLE_EQ(learning_rate_at(rate, 9, 10), 2);
    EXPECT_DOUBLE_EQ(learning_rate_at(rate, 10, 10), 2);
    EXPECT_DOUBLE_EQ(learning_rate_at(rate, 11, 10), 0.5);
}

}  // namespace
}  // namespace fusionllm::test
