#include <gtest/gtest.h>

#include "fusionllm/plan/schedule_depth.hpp"
#include "fusionllm/plan/step_time.hpp"
#include "fusionllm/sim/simulate.hpp"
#include "fusionllm/util/error.hpp"

#include "step_case.hpp"

namespace fusionllm::test {
namespace {

constexpr int no_limit = 1000;

std::vector<int> choose(const StepCase& step, int limit) {
    return choose_in_flight(step.costs,
                            step.network(),
                            step.micro_batches,
                            std::vector<int>(step.num_stages(), limit));
}

double simulate_1f1b_s(const StepCase& step, const std::vector<int>& depths) {
    return simulate_step_s(
        make_1f1b(depths, step.micro_batches), step.costs, step.network());
}

std::vector<int> classic_depths(int num_stages) {
    std::vector<int> depths;
    for (int s = 0; s < num_stages; ++s) {
        depths.push_back(num_stages - s);
    }
    return depths;
}

//! Equal stages of 1 s and 2 s; links of any bandwidth.
StepCase make_equal_stages(int num_stages,
                           int micro_batches,
                           double latency_s) {
    StepCase step(num_stages, micro_batches);
    std::ranges::fill(step.costs.stages, StageSeconds{1, 2, 0});
    for (int s = 0; s + 1 < num_stages; ++s) {
        step.link(s, s + 1).latency_s = latency_s;
        step.link(s + 1, s).latency_s = latency_s;
    }
    return step;
}

TEST(DepthTest, free_links_want_the_classic_depth) {
    EXPECT_EQ(choose(make_equal_stages(4, 16, 0), no_limit), classic_depths(4));
}

TEST(DepthTest, littles_law_counts_what_is_on_its_way) {
    // From F on stage 0 to the end of B there: 2 x 3 s of work and 2 x 6 s of
    // latency, 18 s, while a stage takes 3 s for a micro-batch.
    EXPECT_EQ(choose(make_equal_stages(2, 16, 6), no_limit),
              (std::vector<int>{6, 1}));
}

TEST(DepthTest, the_slowest_link_sets_the_pace) {
    StepCase step = make_equal_stages(2, 16, 0);
    step.costs.forward[0].bytes = {60};
    step.link(0, 1).bandwidth_bytes_per_s = 10;

    // 6 s of work and 6 s of sending, a micro-batch every 6 s.
    EXPECT_EQ(choose(step, no_limit), (std::vector<int>{2, 1}));
}

TEST(DepthTest, links_of_one_line_count_together) {
    StepCase step = make_equal_stages(3, 16, 0);
    for (Crossing& crossing : step.costs.forward) {
        crossing.bytes = {30};
    }
    step.topology.sites = {{"left", {}, {}, 0, 0}, {"right", {}, {}, 3, 3}};
    step.topology.site_links.assign(4, {});
    step.topology.devices[0].site = "left";
    step.topology.devices[1].site = "right";
    step.topology.devices[2].site = "left";

    // Stage 1 in and out use other lines; the period is 10 s, round 29 s.
    EXPECT_EQ(choose(step, no_limit), (std::vector<int>{3, 2, 1}));

    step.costs.backward[0].bytes = {30};
    // Now its uplink carries two messages: 20 s a micro-batch, round 39 s.
    EXPECT_EQ(choose(step, no_limit), (std::vector<int>{3, 2, 1}));
    // Two messages have this latency: round 63 s.
    step.link(0, 1).latency_s = 12;
    EXPECT_EQ(choose(step, no_limit), (std::vector<int>{4, 2, 1}));
}

TEST(DepthTest, memory_and_micro_batches_are_the_most) {
    const StepCase step = make_equal_stages(3, 5, 100);

    EXPECT_EQ(choose(step, no_limit), (std::vector<int>{5, 5, 1}));
    EXPECT_EQ(choose(step, 2), (std::vector<int>{2, 2, 1}));
    EXPECT_EQ(choose_in_flight(step.costs, step.network(), 5, {2, 4, 4}),
              (std::vector<int>{2, 2, 1}));
}

TEST(DepthTest, a_step_of_no_time_at_all_has_a_depth_too) {
    EXPECT_EQ(choose(StepCase(2, 4), no_limit), (std::vector<int>{2, 1}));
}

TEST(DepthTest, limits_without_room_or_a_stage_are_refused) {
    const StepCase step = make_equal_stages(2, 5, 1);

    EXPECT_THROW(choose(step, 0), InputError);
    EXPECT_THROW(choose_in_flight(step.costs, step.network(), 5, {1}),
                 InputError);
}

TEST(DepthTest, every_choice_is_a_schedule_within_its_limits) {
    std::mt19937 random(11);
    for (int repeat = 0; repeat < 300; ++repeat) {
        const int num_stages = 1 + static_cast<int>(random() % 8);
        const int m = 1 + static_cast<int>(random() % 20);
        const StepCase step = make_random_case(random, num_stages, m);
        std::vector<int> limits;
        for (int s = 0; s < num_stages; ++s) {
            limits.push_back(1 + static_cast<int>(random() % 20));
        }

        const auto depths =
            choose_in_flight(step.costs, step.network(), m, limits);

        const Schedule schedule = make_1f1b(depths, m);
        EXPECT_NO_THROW(check(schedule));
        for (int s = 0; s < num_stages; ++s) {
            const StageId stage(static_cast<std::uint32_t>(s));
            EXPECT_LE(peak_in_flight(schedule, stage), std::min(limits[s], m));
        }
    }
}

TEST(DepthTest, long_transfers_are_hidden) {
    const int m = 64;
    const StepCase step = make_equal_stages(4, m, 6);

    const double classic_s = simulate_1f1b_s(step, classic_depths(4));
    const double deep_s = simulate_1f1b_s(step, choose(step, no_limit));

    // Work alone is 64 x 3 s; the classic depth waits for every crossing.
    const double bound_s =
        analytic_step_s(step.costs, step.network(), m, Objective::interleaved);
    EXPECT_GE(deep_s, bound_s);
    EXPECT_LE(deep_s, 1.1 * bound_s);
    EXPECT_GE(classic_s, 2 * deep_s);
}

TEST(DepthTest, the_choice_is_seldom_slower_than_the_classic_depth) {
    std::mt19937 random(12);
    int num_slower = 0;
    double sum_classic_s = 0;
    double sum_chosen_s = 0;
    constexpr int num_cases = 300;
    for (int repeat = 0; repeat < num_cases; ++repeat) {
        const int num_stages = 2 + static_cast<int>(random() % 7);
        StepCase step = make_random_case(random, num_stages, 32);
        for (Link& link : step.topology.site_links) {
            link.latency_s *= static_cast<double>(random() % 8);
        }

        const double classic_s =
            simulate_1f1b_s(step, classic_depths(num_stages));
        const double chosen_s = simulate_1f1b_s(step, choose(step, no_limit));

        sum_classic_s += classic_s;
        sum_chosen_s += chosen_s;
        num_slower += chosen_s > 1.001 * classic_s ? 1 : 0;
    }
    RecordProperty("num_slower", num_slower);
    EXPECT_LE(num_slower, num_cases / 20);
    EXPECT_LE(sum_chosen_s, 0.7 * sum_classic_s)
        << sum_chosen_s << " " << sum_classic_s << " " << num_slower;
}

}  // namespace
}  // namespace fusionllm::test
