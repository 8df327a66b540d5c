#include "fusionllm/plan/plan.hpp"

#include <gtest/gtest.h>

#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/plan/make_plan.hpp"
#include "fusionllm/util/error.hpp"

#include "chain.hpp"

namespace fusionllm::test {
namespace {

//! 10 ops on three devices: [0, 3), [3, 6), [6, 10).
Plan make_small_plan(const OpGraph& graph) {
    return make_plan(graph,
                     estimate_workload(graph),
                     make_topology({{"lyon", 2}, {"graz", 1}}),
                     "equal_ops",
                     "gpipe",
                     4);
}

class PlanTest : public testing::Test {
protected:
    OpGraph graph_ = make_chain(10);
    Plan plan_ = make_small_plan(graph_);

    StagePlacement& stage(std::size_t index) {
        return plan_.placement.stages.at(index);
    }

    //! What `validate` says, or an empty text.
    std::string complaint() const {
        try {
            validate(plan_, graph_, 3);
        } catch (const InputError& error) {
            return error.what();
        }
        return "";
    }

    void expect_complaint(const std::string& part) const {
        EXPECT_NE(complaint().find(part), std::string::npos)
            << "says: " << complaint();
    }
};

TEST_F(PlanTest, groups_are_the_sites_in_order) {
    ASSERT_EQ(plan_.groups.size(), 2u);
    EXPECT_EQ(plan_.groups[0],
              (DeviceGroup{"lyon", {DeviceId(0), DeviceId(1)}}));
    EXPECT_EQ(plan_.groups[1], (DeviceGroup{"graz", {DeviceId(2)}}));
    EXPECT_EQ(find_group(plan_, DeviceId(1)), 0);
    EXPECT_EQ(find_group(plan_, DeviceId(2)), 1);
    EXPECT_THROW(find_group(plan_, DeviceId(3)), InputError);
}

TEST_F(PlanTest, its_schedule_has_its_stages_and_microbatches) {
    EXPECT_EQ(make_schedule(plan_), make_gpipe(3, 4));
}

TEST_F(PlanTest, its_schedule_has_the_depths_it_names) {
    plan_.schedule = "1f1b";
    plan_.in_flight = {4, 4, 2};

    EXPECT_EQ(complaint(), "");
    EXPECT_EQ(make_schedule(plan_), make_1f1b({4, 4, 2}, 4));
}

TEST_F(PlanTest, depths_that_do_not_fit_are_refused) {
    plan_.in_flight = {3, 2, 1};
    expect_complaint("in_flight goes with the schedule 1f1b, not with gpipe");

    plan_.schedule = "1f1b";
    plan_.in_flight = {3, 2};
    expect_complaint("in_flight has 2 numbers, but there are 3 stages");

    plan_.in_flight = {3, 1, 2};
    expect_complaint(
        "in_flight gives stage 2 2 micro-batches and stage 1 "
        "only 1");
}

TEST_F(PlanTest, a_made_plan_is_valid) {
    EXPECT_EQ(complaint(), "");
}

TEST_F(PlanTest, a_plan_for_another_graph_is_refused) {
    ++plan_.graph_hash;

    expect_complaint("make a new plan");
}

TEST_F(PlanTest, ops_in_no_stage_are_named) {
    stage(1).ops.begin = 5;
    expect_complaint("ops 3 to 4 of the graph would be in no stage: stage 1");

    stage(1).ops.begin = 4;
    expect_complaint("op 3 of the graph would be in no stage");

    plan_ = make_small_plan(graph_);
    stage(0).ops.begin = 1;
    expect_complaint("op 0 of the graph would be in no stage: stage 0");

    plan_ = make_small_plan(graph_);
    stage(2).ops.end = 8;
    expect_complaint("ops 8 to 9 of the graph would be in no stage: stage 2");
}

TEST_F(PlanTest, ops_in_two_stages_are_named) {
    stage(1).ops.begin = 1;

    expect_complaint("ops 1 to 2 of the graph would be in two stages: stage 1");
}

TEST_F(PlanTest, ops_that_do_not_exist_are_refused) {
    stage(2).ops.end = 12;

    expect_complaint("ends at op 12, but the graph has 10 ops");
}

TEST_F(PlanTest, empty_stages_are_refused) {
    stage(1).ops = {3, 3};
    expect_complaint("stage 1 of the plan has no ops");

    plan_.placement.stages.clear();
    expect_complaint("the plan has no stages");
}

TEST_F(PlanTest, an_unknown_device_is_named) {
    stage(1).devices = {DeviceId(7)};

    expect_complaint("stage 1 of the plan names device 7, but there are 3");
}

TEST_F(PlanTest, a_device_with_two_stages_is_refused) {
    stage(2).devices = stage(0).devices;

    expect_complaint("device 0 is given to stage 0 and to stage 2");
}

TEST_F(PlanTest, replicas_are_refused_for_now) {
    stage(1).devices = {DeviceId(1), DeviceId(2)};
    expect_complaint("stage 1 of the plan is on 2 devices");

    stage(1).devices = {};
    expect_complaint("stage 1 of the plan is on 0 devices");
}

TEST_F(PlanTest, every_device_is_in_exactly_one_group) {
    plan_.groups[1].devices = {DeviceId(1)};
    expect_complaint("device 1 is in group 'lyon' and again in group 'graz'");

    plan_.groups[1].devices = {DeviceId(3)};
    expect_complaint("group 'graz' of the plan names device 3");

    plan_.groups[1].devices = {};
    expect_complaint("group 'graz' of the plan has no devices");

    plan_.groups.pop_back();
    expect_complaint("device 2 is in no group");
}

TEST_F(PlanTest, an_unknown_schedule_is_refused) {
    plan_.schedule = "gpip";

    expect_complaint("did you mean 'gpipe'");
}

TEST_F(PlanTest, a_stage_may_stand_on_any_device) {
    std::swap(stage(0).devices, stage(2).devices);

    EXPECT_EQ(complaint(), "");
}

TEST(PlanTextTest, round_trips_for_many_shapes) {
    const OpGraph graph = make_gpt2({}, 2);
    const Workload workload = estimate_workload(graph);
    for (const int num_devices : {1, 2, 5, 12, 48}) {
        for (const auto& schedule : schedule_names()) {
            const Plan plan = make_plan(
                graph,
                workload,
                make_topology({{"a \"b\" \\ # c\n", 1}, {"d", num_devices}}),
                "equal_flops",
                schedule,
                num_devices);

            EXPECT_EQ(parse_plan(to_text(plan), "plan.txt"), plan);
            EXPECT_EQ(parse_plan(to_text(plan, graph), "plan.txt"), plan);
        }
    }
}

TEST(PlanTextTest, keeps_the_depths) {
    Plan plan = make_small_plan(make_chain(10));
    EXPECT_EQ(to_text(plan).find("in_flight"), std::string::npos);
    plan.in_flight = {4, 4, 1};

    const std::string text = to_text(plan);

    EXPECT_NE(text.find("\nin_flight 4 4 1\n"), std::string::npos) << text;
    EXPECT_EQ(parse_plan(text, "plan.txt"), plan);
}

TEST(PlanTextTest, keeps_recompute_and_has_no_line_without_it) {
    Plan plan = make_small_plan(make_chain(10));
    EXPECT_EQ(to_text(plan).find("recompute"), std::string::npos);
    plan.recompute = Recompute::on;

    const std::string text = to_text(plan);

    EXPECT_NE(text.find("\nrecompute on\n"), std::string::npos) << text;
    EXPECT_EQ(parse_plan(text, ""), plan);
    plan.recompute = Recompute::off;
    EXPECT_EQ(parse_plan(to_text(plan) + "recompute off\n", ""), plan);
}

TEST(PlanTextTest, keeps_a_list_of_devices_for_replicas_to_come) {
    Plan plan = make_small_plan(make_chain(10));
    plan.placement.stages[1].devices = {DeviceId(1), DeviceId(2)};

    EXPECT_EQ(parse_plan(to_text(plan), "plan.txt"), plan);
}

TEST(PlanTextTest, names_the_ops_at_the_ends_of_a_stage) {
    const OpGraph graph = make_chain(10);

    const std::string text = to_text(make_small_plan(graph), graph);

    EXPECT_NE(text.find("stage 1 ops 3 6 devices 1  # relu.3 ... relu.5\n"),
              std::string::npos)
        << text;
}

TEST(PlanTextTest, reads_what_people_write) {
    const std::string text =
        "\r\n"
        "  schedule   gpipe # not 1f1b\r\n"
        "# a comment\n"
        "stage 0  ops 0 3\tdevices 0#x\n"
        "group \"lyon\" devices 0\n"
        "micro_batches 4\n"
        "graph 00000000000000ff";

    const Plan plan = parse_plan(text, "plan.txt");

    EXPECT_EQ(plan,
              (Plan{255,
                    {{{{0, 3}, {DeviceId(0)}}}},
                    "gpipe",
                    4,
                    {},
                    {{"lyon", {DeviceId(0)}}},
                    {}}));
}

TEST(PlanTextTest, keeps_the_fences) {
    Plan plan = make_small_plan(make_chain(10));
    EXPECT_EQ(to_text(plan).find("fence"), std::string::npos);
    const char* codecs[] = {"int4/int3s",
                            "fp32/bf16",
                            "top_k(33.3,int4)",
                            "top_k_row(8,int8)+feedback",
                            "subspace(16,int4)",
                            "paper(303.25)"};
    for (std::size_t i = 0; i < std::size(codecs); ++i) {
        plan.fences.push_back({3 + i,
                               ValueId(static_cast<std::uint32_t>(2 + i)),
                               parse_codec_choice(codecs[i], 1)});
    }

    const std::string text = to_text(plan);

    EXPECT_NE(text.find("\nfence 3 value 2 int4/int3s\n"), std::string::npos)
        << text;
    EXPECT_EQ(parse_plan(text, "plan.txt"), plan);
}

struct BadLine {
    const char* line;
    const char* complaint;
};

class BadPlanTest : public testing::TestWithParam<BadLine> {};

TEST_P(BadPlanTest, is_refused_with_file_and_line) {
    const std::string text =
        "graph ff\nmicro_batches 4\nstage 0 ops 0 3 devices 0\n";
    std::string error;

    try {
        parse_plan(text + GetParam().line + "\nschedule gpipe\n", "my.plan");
    } catch (const InputError& caught) {
        error = caught.what();
    }

    EXPECT_EQ(error.rfind("my.plan:4: ", 0), 0u) << error;
    EXPECT_NE(error.find(GetParam().complaint), std::string::npos) << error;
}

INSTANTIATE_TEST_SUITE_P(
    Lines,
    BadPlanTest,
    testing::Values(
        BadLine{"stagee 1 ops 3 4 devices 1", "did you mean 'stage'"},
        BadLine{"stage 2 ops 3 4 devices 1", "this is stage 1, not 2"},
        BadLine{"stage 1 ops 3 x devices 1", "'x' should be the op after"},
        BadLine{"stage 1 ops -3 4 devices 1", "'-3' should be the stage's"},
        BadLine{"stage 1 ops 3 4", "the line ends where 'devices'"},
        BadLine{"stage 1 ops 3 4 device 1", "'device' should be 'devices'"},
        BadLine{"stage 1 ops 3 4 devices", "a device's number"},
        BadLine{"stage 1 ops 3 4 devices 99999999999", "in range"},
        BadLine{"in_flight", "the line ends where a stage's"},
        BadLine{"in_flight 4 x", "'x' should be a stage's micro-batches"},
        BadLine{"in_fligt 4", "did you mean 'in_flight'"},
        BadLine{"graph ee", "a second time, after line 1"},
        BadLine{"schedule gpip", "did you mean 'gpipe'"},
        BadLine{"schedule gpipe 7", "'7' is too much"},
        BadLine{"fence 3 value 2 int7", "there is no codec 'int7'"},
        BadLine{"fence 3 value", "the line ends where"},
        BadLine{"fenc 3 value 2 int4", "did you mean 'fence'"},
        BadLine{"group lyon devices 0", "in double quotes"},
        BadLine{"group \"lyon devices 0", "are not closed"}));

TEST(PlanTextTest, a_missing_line_is_named) {
    std::string error;

    try {
        parse_plan("graph ff\nschedule gpipe\n", "my.plan");
    } catch (const InputError& caught) {
        error = caught.what();
    }

    EXPECT_NE(error.find("no line 'micro_batches'"), std::string::npos);
}

TEST(PlanTextTest, a_step_without_microbatches_is_refused) {
    EXPECT_THROW(parse_plan("micro_batches 0", "my.plan"), InputError);
    EXPECT_THROW(parse_plan("micro_batches -1", "my.plan"), InputError);
}

TEST(MakePlanTest, unknown_names_and_numbers_are_refused) {
    const OpGraph graph = make_chain(10);
    const Workload workload = estimate_workload(graph);
    const Topology topology = make_uniform_topology(2);

    EXPECT_THROW(make_plan(graph, workload, topology, "best", "1f1b", 1),
                 InputError);
    EXPECT_THROW(make_plan(graph, workload, topology, "equal_ops", "1f2b", 1),
                 InputError);
    EXPECT_THROW(make_plan(graph, workload, topology, "equal_ops", "1f1b", 0),
                 InputError);
}

}  // namespace
}  // namespace fusionllm::test
