#include "fusionllm/plan/op_support.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/plan/partition.hpp"
#include "fusionllm/plan/place_by_support.hpp"
#include "fusionllm/sim/choose_plan.hpp"
#include "fusionllm/util/error.hpp"

#include "chain.hpp"
#include "random_case.hpp"

namespace fusionllm::test {
namespace {

using ::testing::HasSubstr;

Software make_random_software(std::mt19937& random,
                              const std::string& name,
                              int num_ops) {
    Software software{name, {}};
    for (int op = 0; op < num_ops; ++op) {
        if (random() % 4 == 0) {
            software.missing.push_back(static_cast<std::size_t>(op));
        }
    }
    return software;
}

//! Two kinds of software, each on some of the devices.
OpSupport make_random_support(std::mt19937& random, const CaseShape& shape) {
    std::vector<std::size_t> of_device;
    for (int d = 0; d < shape.num_devices; ++d) {
        of_device.push_back(random() % 2);
    }
    return {{make_random_software(random, "old", shape.num_ops),
             make_random_software(random, "new", shape.num_ops)},
            of_device,
            static_cast<std::size_t>(shape.num_ops)};
}

void expect_runs(const Placement& placement, const OpSupport& support) {
    std::size_t end = 0;
    for (const StagePlacement& stage : placement.stages) {
        EXPECT_EQ(stage.ops.begin, end);
        EXPECT_LT(stage.ops.begin, stage.ops.end);
        EXPECT_TRUE(support.can_run(stage.devices.at(0), stage.ops));
        end = stage.ops.end;
    }
}

//! Runs where its ops do, and is there exactly when the `best` is.
void expect_runs_if_any_does(const std::optional<Placement>& placement,
                             const std::optional<Placement>& best,
                             const OpSupport& support) {
    ASSERT_EQ(placement.has_value(), best.has_value());
    if (placement) {
        expect_runs(*placement, support);
    }
}

CaseShape small_shape(std::mt19937& random) {
    CaseShape shape;
    shape.num_ops = 4 + static_cast<int>(random() % 5);
    shape.num_devices = 2 + static_cast<int>(random() % 3);
    shape.memory = CaseShape::Memory::unlimited;
    return shape;
}

CostModel make_case_model(std::mt19937& random, const CaseShape& shape) {
    return CostModel(make_chain(shape.num_ops),
                     make_random_workload(random, shape.num_ops),
                     make_random_topology(random, shape),
                     8)
        .with(make_random_support(random, shape));
}

std::vector<DeviceId> devices_of(const CostModel& model) {
    std::vector<DeviceId> devices;
    for (std::size_t d = 0; d < model.num_devices(); ++d) {
        devices.emplace_back(static_cast<std::uint32_t>(d));
    }
    return devices;
}

std::optional<Placement> place_or_none(const std::string& name,
                                       const CostModel& model,
                                       const PlannerOptions& options) {
    try {
        return partition(name, model, options);
    } catch (const InputError&) {
        return std::nullopt;
    }
}

TEST(OpSupportTest, a_stage_runs_where_all_its_ops_do) {
    const OpSupport support({{"old", {2, 3}}, {"new", {}}}, {0, 1}, 6);

    EXPECT_FALSE(support.is_everywhere());
    EXPECT_TRUE(support.can_run(DeviceId(0), {0, 2}));
    EXPECT_FALSE(support.can_run(DeviceId(0), {0, 3}));
    EXPECT_FALSE(support.can_run(DeviceId(0), {3, 4}));
    EXPECT_TRUE(support.can_run(DeviceId(0), {4, 6}));
    EXPECT_TRUE(support.can_run(DeviceId(1), {0, 6}));
    EXPECT_EQ(support.borders(), (std::vector<std::size_t>{2, 4}));
    EXPECT_TRUE(OpSupport({{"a", {}}, {"b", {}}}, {0, 1}, 6).is_everywhere());
}

TEST(OpSupportTest, a_placement_is_found_exactly_when_there_is_one) {
    std::mt19937 random(5);
    int num_found = 0;
    int num_refused = 0;
    for (int trial = 0; trial < 200; ++trial) {
        const CostModel model = make_case_model(random, small_shape(random));
        for (const DeviceUse use : {DeviceUse::all, DeviceUse::any}) {
            PlannerOptions options;
            options.use = use;

            const auto placement =
                place_by_support(model, devices_of(model), use);
            const auto best = place_or_none("exhaustive", model, options);

            expect_runs_if_any_does(placement, best, model.op_support());
            ++(placement ? num_found : num_refused);
            EXPECT_TRUE(use == DeviceUse::any || !placement ||
                        placement->stages.size() == model.num_devices());
        }
    }
    EXPECT_GT(num_found, 50);
    EXPECT_GT(num_refused, 50);
}

TEST(OpSupportTest, op_fence_places_ops_where_they_run_and_nearly_as_well) {
    std::mt19937 random(6);
    double sum_of_ratios = 0;
    int num_placed = 0;
    for (int trial = 0; trial < 150; ++trial) {
        const CostModel model = make_case_model(random, small_shape(random));
        PlannerOptions options;
        options.micro_batches = 1 + static_cast<int>(random() % 8);

        const auto placement = place_or_none("op_fence", model, options);
        const auto best = place_or_none("exhaustive", model, options);

        expect_runs_if_any_does(placement, best, model.op_support());
        if (placement && best) {
            ++num_placed;
            sum_of_ratios += estimate_step_s(model, *placement, options) /
                             estimate_step_s(model, *best, options);
        }
    }
    EXPECT_GT(num_placed, 40);
    EXPECT_LT(sum_of_ratios / num_placed, 1.05);
}

TEST(OpSupportTest, many_missing_ops_of_a_long_graph_are_placed) {
    constexpr int num_ops = 600;
    constexpr int num_devices = 6;
    const OpGraph graph = make_chain(num_ops);
    Software old{"old", {}};
    for (std::size_t op = 0; op < num_ops; ++op) {
        if (op >= 200 && op < 397 && op % 3 != 0) {
            old.missing.push_back(op);
        }
    }
    const CostModel model =
        CostModel(graph,
                  estimate_workload(graph),
                  make_uniform_topology(num_devices),
                  8)
            .with(OpSupport({old, {"new", {}}}, {1, 0, 0, 0, 0, 1}, num_ops));
    PlannerOptions options;
    options.use = DeviceUse::all;
    options.micro_batches = 4;

    const Placement placement = partition("op_fence", model, options);

    EXPECT_EQ(placement.stages.size(), std::size_t{num_devices});
    expect_runs(placement, model.op_support());
}

//! What is said of three devices, the first with old software.
std::string problem_of(std::vector<std::size_t> missing_in_old,
                       std::vector<std::size_t> missing_in_new,
                       const PlanRequest& request) {
    const OpGraph graph = make_chain(8);
    const Topology topology = make_uniform_topology(3);
    const CostModel model =
        CostModel(graph, estimate_workload(graph), topology, 8)
            .with(OpSupport({{"LibTorch 1.13.1", std::move(missing_in_old)},
                             {"LibTorch 2.6.0", std::move(missing_in_new)}},
                            {0, 1, 1},
                            8));
    try {
        const PlannedStep step = choose_plan(graph, model, topology, request);
        expect_runs(step.plan.placement, model.op_support());
    } catch (const InputError& error) {
        return error.what();
    }
    return "";
}

TEST(OpSupportTest, an_op_that_nobody_can_run_is_named) {
    const std::string problem = problem_of({3, 5}, {5}, {});

    EXPECT_THAT(problem, HasSubstr("which no rank can run"));
    EXPECT_THAT(problem, HasSubstr("op '" + make_chain(8).ops()[5].name + "'"));
    EXPECT_THAT(problem,
                HasSubstr("not LibTorch 1.13.1 (local-0) and LibTorch 2.6.0 "
                          "(local-1, local-2)"));
}

TEST(OpSupportTest, ops_that_alternate_too_often_are_refused_by_name) {
    EXPECT_THAT(problem_of({1, 5}, {3, 7}, {}),
                HasSubstr("only by LibTorch 2.6.0 (local-1, local-2)"));
    EXPECT_EQ(problem_of({1}, {3}, {}), "");
}

TEST(OpSupportTest, a_device_without_a_place_is_left_out_even_of_all) {
    PlanRequest request;
    request.use = DeviceUse::all;

    EXPECT_EQ(problem_of({0, 1, 2, 3, 4, 5, 6, 7}, {}, request), "");
}

TEST(OpSupportTest, a_blind_partition_is_refused_with_op_and_device) {
    PlanRequest request;
    request.partition = "equal_ops";

    EXPECT_EQ(problem_of({7}, {}, request), "");
    EXPECT_THAT(problem_of({1}, {}, request),
                HasSubstr("stage 0 on device 'local-0' has op"));
}

}  // namespace
}  // namespace fusionllm::test
