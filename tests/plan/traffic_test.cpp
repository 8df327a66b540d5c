#include "fusionllm/plan/traffic.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/plan/make_plan.hpp"

namespace fusionllm::test {
namespace {

using Pairs = std::vector<std::pair<int, int>>;

//! A GPT-2 on one device a site.
Plan make_spread_plan(const OpGraph& graph, int num_sites) {
    std::vector<SiteSpec> sites;
    for (int s = 0; s < num_sites; ++s) {
        sites.push_back({fmt::format("site{}", s), 1});
    }
    return make_plan(graph,
                     estimate_workload(graph),
                     make_topology(sites),
                     "equal_ops",
                     "1f1b",
                     2);
}

OpGraph make_small_gpt2(bool tie_embeddings) {
    Gpt2Options options;
    options.tie_embeddings = tie_embeddings;
    return make_gpt2(options, 1);
}

TEST(SharedParameterTest, tied_embeddings_are_held_by_both_ends) {
    const OpGraph graph = make_small_gpt2(true);

    const auto shared =
        shared_parameter_holders(make_spread_plan(graph, 4), graph);

    ASSERT_EQ(shared.size(), 1u);
    EXPECT_EQ(graph.signature().parameters[shared[0].parameter].name,
              "wte.weight");
    EXPECT_EQ(shared[0].holders, (std::vector{StageId(0), StageId(3)}));
}

TEST(SharedParameterTest, one_stage_shares_nothing) {
    const OpGraph graph = make_small_gpt2(true);

    EXPECT_TRUE(
        shared_parameter_holders(make_spread_plan(graph, 1), graph).empty());
}

TEST(SharedParameterTest, untied_embeddings_are_not_shared) {
    const OpGraph graph = make_small_gpt2(false);

    EXPECT_TRUE(
        shared_parameter_holders(make_spread_plan(graph, 4), graph).empty());
}

TEST(CommunicatingGroupsTest, neighbours_and_the_root_exchange_messages) {
    const OpGraph graph = make_small_gpt2(false);
    const Plan plan = make_spread_plan(graph, 4);

    EXPECT_EQ(communicating_groups(plan, graph, 1),
              (Pairs{{0, 1}, {1, 2}, {1, 3}, {2, 3}}));
}

TEST(CommunicatingGroupsTest, holders_of_a_parameter_exchange_messages) {
    const OpGraph graph = make_small_gpt2(true);
    const Plan plan = make_spread_plan(graph, 4);

    EXPECT_EQ(communicating_groups(plan, graph, 1),
              (Pairs{{0, 1}, {0, 3}, {1, 2}, {1, 3}, {2, 3}}));
}

TEST(CommunicatingGroupsTest, one_group_needs_no_pair) {
    const OpGraph graph = make_small_gpt2(true);
    const Plan plan = make_plan(graph,
                                estimate_workload(graph),
                                make_uniform_topology(4),
                                "equal_ops",
                                "1f1b",
                                2);

    EXPECT_TRUE(communicating_groups(plan, graph, 0).empty());
}

TEST(CommunicatingGroupsTest, a_group_without_a_stage_still_hears_the_root) {
    const OpGraph graph = make_small_gpt2(false);
    Plan plan = make_spread_plan(graph, 2);
    plan.groups.push_back({"spare", {DeviceId(2)}});

    EXPECT_EQ(communicating_groups(plan, graph, 0), (Pairs{{0, 1}, {0, 2}}));
}

}  // namespace
}  // namespace fusionllm::test
