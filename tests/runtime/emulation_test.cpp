// Real training, real bytes, timed as if on other devices and links.

#include "fusionllm/runtime/emulation.hpp"

#include <mutex>

#include <gtest/gtest.h>

#include "fusionllm/plan/cost_model.hpp"
#include "fusionllm/sim/simulate.hpp"
#include "fusionllm/util/error.hpp"

#include "training.hpp"

namespace fusionllm::test {
namespace {

constexpr double adam_state_bytes = 8;

//! The first half of the devices far from the second one.
Topology make_testbed(int num_devices) {
    const int half = num_devices / 2;
    Topology topology =
        half == 0
            ? make_uniform_topology(num_devices)
            : make_topology({{"lyon", half}, {"osaka", num_devices - half}});
    for (Link& link : topology.site_links) {
        link = {0.12, 1e6};
    }
    topology.kinds.front().flops_per_s = 1e9;
    return topology;
}

Emulation make_emulation(const OpGraph& graph, const Plan& plan) {
    const Topology testbed =
        make_testbed(static_cast<int>(plan.placement.stages.size()));
    const auto model = std::make_shared<CostModel>(
        graph, estimate_workload(graph), testbed, adam_state_bytes);
    return {
        [model, placement = plan.placement](const std::vector<Fence>& fences) {
            return model->step_costs(placement, fences);
        },
        Network(testbed),
        0};
}

TrainingCase make_case(int ranks, const std::string& schedule) {
    TrainingCase training = make_hard_case();
    training.ranks = ranks;
    training.schedule = schedule;
    training.emulate = make_emulation;
    return training;
}

std::vector<DeviceId> devices_in_order(int num) {
    std::vector<DeviceId> devices;
    for (int d = 0; d < num; ++d) {
        devices.emplace_back(static_cast<std::uint32_t>(d));
    }
    return devices;
}

//! A run, and what was foreseen for it.
struct Emulated {
    TrainingResult result;
    double foreseen_step_s = 0;
    RankTraffic foreseen;  // of a step
};

Emulated run(TrainingCase training) {
    Emulated emulated;
    training.emulate = [&](const OpGraph& graph, const Plan& plan) {
        Emulation emulation = make_emulation(graph, plan);
        const StepCosts costs = emulation.estimate(plan.fences);
        const int num_stages = static_cast<int>(costs.stages.size());
        std::vector<int> rank_of_stage;
        for (int s = 0; s < num_stages; ++s) {
            rank_of_stage.push_back(s);
        }
        static std::mutex mutex;  // called by every rank
        const std::lock_guard lock(mutex);
        emulated.foreseen_step_s =
            simulate_step_s(make_schedule(plan), costs, emulation.network);
        emulated.foreseen = foresee_traffic(costs,
                                            rank_of_stage,
                                            devices_in_order(num_stages),
                                            plan.micro_batches);
        return emulation;
    };
    emulated.result = train(training);
    return emulated;
}

TEST(EmulationTest, what_is_sent_is_what_was_foreseen_to_the_byte) {
    for (const int ranks : {1, 2, 4, 6}) {
        for (const auto* schedule : {"1f1b", "gpipe"}) {
            const TrainingCase training = make_case(ranks, schedule);

            const Emulated emulated = run(training);

            RankTraffic expected = emulated.foreseen;
            for (auto& [ends, bytes] : expected) {
                bytes *= training.options.steps;
                EXPECT_GT(bytes, 0u);
            }
            EXPECT_EQ(emulated.result.traffic, expected) << ranks;
        }
    }
}

TEST(EmulationTest, dense_steps_take_the_time_that_was_foreseen) {
    for (const int ranks : {1, 2, 4}) {
        const Emulated emulated = run(make_case(ranks, "1f1b"));

        ASSERT_EQ(emulated.result.metrics.size(), 3u);
        double clock_s = 0;
        for (const StepMetrics& metrics : emulated.result.metrics) {
            clock_s += emulated.foreseen_step_s;
            EXPECT_EQ(metrics.emulated_step_s, emulated.foreseen_step_s);
            EXPECT_EQ(metrics.emulated_s, clock_s);
        }
    }
}

TEST(EmulationTest, two_runs_give_the_same_times_to_the_bit) {
    const TrainingCase training = make_case(4, "gpipe");

    const TrainingResult first = train(training);
    const TrainingResult second = train(training);

    ASSERT_EQ(first.metrics.size(), second.metrics.size());
    for (std::size_t i = 0; i < first.metrics.size(); ++i) {
        ASSERT_TRUE(first.metrics[i].emulated_step_s.has_value());
        EXPECT_GT(*first.metrics[i].emulated_step_s, 2 * 0.12);
        EXPECT_EQ(first.metrics[i].emulated_step_s,
                  second.metrics[i].emulated_step_s);
        EXPECT_EQ(first.metrics[i].emulated_s, second.metrics[i].emulated_s);
    }
}

TEST(EmulationTest, the_clock_goes_on_where_it_is_set) {
    TrainingCase training = make_case(2, "1f1b");
    training.emulate = [](const OpGraph& graph, const Plan& plan) {
        Emulation emulation = make_emulation(graph, plan);
        emulation.begin_s = 1000;
        return emulation;
    };

    const TrainingResult result = train(training);

    const StepMetrics& first = result.metrics.front();
    EXPECT_EQ(*first.emulated_s, 1000 + *first.emulated_step_s);
}

TEST(EmulationTest, a_plain_run_has_no_emulated_time_and_the_same_losses) {
    TrainingCase training = make_case(2, "1f1b");
    const TrainingResult emulated = train(training);
    training.emulate = nullptr;

    const TrainingResult plain = train(training);

    ASSERT_EQ(plain.metrics.size(), emulated.metrics.size());
    for (std::size_t i = 0; i < plain.metrics.size(); ++i) {
        EXPECT_FALSE(plain.metrics[i].emulated_step_s.has_value());
        EXPECT_FALSE(plain.metrics[i].emulated_s.has_value());
        EXPECT_EQ(plain.metrics[i].loss, emulated.metrics[i].loss);
    }
    EXPECT_EQ(plain.traffic, emulated.traffic);
}

//! Two stages, on ranks 2 and 0, and rank 1 without one.
struct SentCase {
    StepCosts costs{{{1, 2, 0}, {1, 2, 0}},
                    {{DeviceId(5), DeviceId(3), {7}}},
                    {{DeviceId(3), DeviceId(5), {7}}},
                    {{DeviceId(5), DeviceId(3), {9}}}};
    std::vector<SentBytes> sent{
        {{0, 0}, {30, 40}, {{2, 50}}}, {}, {{10, 20}, {0, 0}, {{0, 60}}}};
    std::vector<int> rank_of_stage{2, 0};
    std::vector<DeviceId> device_of_rank{DeviceId(3), DeviceId(4), DeviceId(5)};

    StepCosts apply(int micro_batches) const {
        return with_sent_bytes(
            costs, sent, rank_of_stage, device_of_rank, micro_batches);
    }
};

TEST(SentBytesTest, take_the_place_of_the_estimate) {
    const SentCase given;
    StepCosts expected = given.costs;
    expected.forward[0].bytes = {10, 20};
    expected.backward[0].bytes = {30, 40};
    expected.parameter_gradients = {{DeviceId(3), DeviceId(5), {50}},
                                    {DeviceId(5), DeviceId(3), {60}}};

    EXPECT_EQ(given.apply(2), expected);
}

TEST(SentBytesTest, add_up_by_the_ranks_at_the_ends) {
    const SentCase given;
    RankTraffic traffic{{{2, 0}, 1000}};

    add_traffic(traffic, given.sent, given.rank_of_stage);

    EXPECT_EQ(traffic, (RankTraffic{{{0, 2}, 120}, {{2, 0}, 1090}}));
}

TEST(SentBytesTest, of_other_micro_batches_are_refused) {
    EXPECT_THROW(SentCase().apply(3), Error);
}

}  // namespace
}  // namespace fusionllm::test
