#include "fusionllm/sim/bottleneck.hpp"

#include <gtest/gtest.h>

#include "fusionllm/sim/simulate.hpp"

#include "step_case.hpp"

namespace fusionllm::test {
namespace {

const std::vector<std::string> devices = {"lyon-0", "graz-0", "oslo-0"};

//! Three stages of 1 s and 2 s, free links, on three sites.
StepCase make_case(int micro_batches) {
    StepCase step(3, micro_batches);
    std::ranges::fill(step.costs.stages, StageSeconds{1, 2, 0});
    const char* sites[] = {"lyon", "graz", "oslo"};
    for (int s = 0; s < 3; ++s) {
        step.topology.sites[s].name = sites[s];
        step.topology.devices[s].site = sites[s];
        step.topology.devices[s].name = devices[s];
    }
    return step;
}

Timeline run(const StepCase& step) {
    return simulate(make_1f1b(step.num_stages(), step.micro_batches),
                    step.costs,
                    step.network());
}

TEST(BubbleTest, is_the_classic_share_on_free_links) {
    for (const int m : {1, 2, 8, 30}) {
        EXPECT_NEAR(bubble(run(make_case(m))), 2.0 / (m + 2), 1e-12);
    }
}

TEST(BottleneckTest, a_slow_stage_is_named_with_its_device) {
    StepCase step = make_case(8);
    step.costs.stages[1].backward_s = 5;

    const Timeline timeline = run(step);
    const auto bottleneck = find_bottleneck(timeline, step.network(), devices);

    EXPECT_EQ(bottleneck.name, "stage 1 on graz-0");
    EXPECT_DOUBLE_EQ(bottleneck.share, 8 * 6 / timeline.makespan_s);
}

TEST(BottleneckTest, of_equal_stages_the_first_is_named) {
    const StepCase step = make_case(8);

    EXPECT_EQ(find_bottleneck(run(step), step.network(), devices).name,
              "stage 0 on lyon-0");
}

TEST(BottleneckTest, a_slow_link_is_named_with_its_sites) {
    StepCase step = make_case(8);
    step.costs.backward[1].bytes = {40};
    step.link(2, 1) = {0.1, 10};

    const Timeline timeline = run(step);
    const auto bottleneck = find_bottleneck(timeline, step.network(), devices);

    EXPECT_EQ(bottleneck.name, "link oslo-graz");
    EXPECT_DOUBLE_EQ(bottleneck.share, 8 * 4 / timeline.makespan_s);
    EXPECT_EQ(find_busiest_link(timeline, step.network()), bottleneck);
}

TEST(BottleneckTest, an_uplink_counts_all_that_leaves_the_site) {
    StepCase step = make_case(8);
    step.costs.backward[0].bytes = {40};
    step.costs.forward[1].bytes = {40};
    step.topology.sites[1].uplink_bytes_per_s = 10;

    const Timeline timeline = run(step);
    const auto bottleneck = find_bottleneck(timeline, step.network(), devices);

    EXPECT_EQ(bottleneck.name, "uplink of graz");
    EXPECT_DOUBLE_EQ(bottleneck.share, 8 * 8 / timeline.makespan_s);
}

TEST(BottleneckTest, a_link_inside_a_site_is_named_by_its_devices) {
    StepCase step = make_case(2);
    step.topology.devices[1].site = "lyon";
    step.topology.sites[0].link = {0, 1};
    step.costs.forward[0].bytes = {40};

    EXPECT_EQ(find_bottleneck(run(step), step.network(), devices).name,
              "link lyon-0 to graz-0");
}

TEST(BottleneckTest, one_stage_has_no_busiest_link) {
    StepCase step(1, 2);
    step.costs.stages[0] = {1, 2, 0};

    const Timeline timeline = run(step);

    EXPECT_FALSE(find_busiest_link(timeline, step.network()));
    EXPECT_EQ(find_bottleneck(timeline, step.network(), {"lyon-0"}),
              (Bottleneck{"stage 0 on lyon-0", 1}));
    EXPECT_EQ(bubble(timeline), 0);
}

TEST(BottleneckTest, a_step_of_no_time_has_no_share) {
    const StepCase step(2, 1);

    const Timeline timeline = run(step);

    EXPECT_EQ(bubble(timeline), 0);
    EXPECT_EQ(find_bottleneck(timeline, step.network(), {"a", "b"}).share, 0);
}

}  // namespace
}  // namespace fusionllm::test
