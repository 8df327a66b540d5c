#include "fusionllm/sim/step_parts.hpp"

#include <gtest/gtest.h>

#include "fusionllm/sim/simulate.hpp"

namespace fusionllm::test {
namespace {

//! Two devices joined by 1 MB/s and 0.5 s.
Network make_network() {
    Topology topology = make_uniform_topology(2);
    topology.sites[0].link = {0.5, 1e6};
    topology.sites[0].host_link = topology.sites[0].link;
    return Network(topology);
}

StepCosts make_costs() {
    StepCosts costs;
    costs.stages = {{1, 2, 0.25}, {1, 2, 0.25}};
    costs.forward = {{DeviceId(0), DeviceId(1), {2e6}}};
    costs.backward = {{DeviceId(1), DeviceId(0), {2e6}}};
    return costs;
}

TEST(StepPartsTest, are_what_one_counts_by_hand) {
    const StepParts parts =
        split_step(make_gpipe(2, 1), make_costs(), make_network());

    // F 1, link 2.5, F 1, B 2, link 2.5, B 2, update 0.25
    EXPECT_DOUBLE_EQ(parts.compute_s, 3.25);
    EXPECT_DOUBLE_EQ(parts.bubble_s, 3);
    EXPECT_DOUBLE_EQ(parts.links_s, 5);
    EXPECT_DOUBLE_EQ(parts.exchange_s, 0);
    EXPECT_DOUBLE_EQ(parts.step_s(), 11.25);
}

TEST(StepPartsTest, the_exchange_of_shared_gradients_is_a_part_of_its_own) {
    StepCosts costs = make_costs();
    costs.parameter_gradients = {{DeviceId(0), DeviceId(1), {4e6}},
                                 {DeviceId(1), DeviceId(0), {4e6}}};
    const Schedule schedule = make_1f1b(2, 4);

    const StepParts parts = split_step(schedule, costs, make_network());

    EXPECT_GT(parts.exchange_s, 0);
    EXPECT_NEAR(parts.step_s(),
                simulate_step_s(schedule, costs, make_network()),
                1e-12);
}

TEST(StepPartsTest, one_stage_only_computes) {
    StepCosts costs;
    costs.stages = {{1, 2, 0.5}};

    const StepParts parts = split_step(make_1f1b(1, 4), costs, make_network());

    EXPECT_DOUBLE_EQ(parts.compute_s, 12.5);
    EXPECT_EQ(parts.bubble_s, 0);
    EXPECT_EQ(parts.links_s, 0);
}

}  // namespace
}  // namespace fusionllm::test
