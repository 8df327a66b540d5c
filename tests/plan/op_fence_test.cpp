#include <algorithm>
#include <cstdio>
#include <functional>
#include <limits>

#include <gtest/gtest.h>

#include "fusionllm/plan/partition.hpp"
#include "fusionllm/util/error.hpp"

#include "fence_case.hpp"
#include "random_case.hpp"

namespace fusionllm::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

PlannerOptions random_options(std::mt19937& random) {
    PlannerOptions options;
    options.micro_batches = 1 + static_cast<int>(random() % 24);
    if (random() % 2 == 0) {
        options.objective = Objective::sweeps;
        options.memory = MemoryNeed::all_in_flight;
    }
    return options;
}

std::vector<DeviceId> given_order(const CostModel& model) {
    std::vector<DeviceId> order;
    for (std::size_t d = 0; d < model.num_devices(); ++d) {
        order.emplace_back(static_cast<std::uint32_t>(d));
    }
    return order;
}

//! The least estimate over all cuts and all devices left out, order kept.
double best_in_order(const CostModel& model, const PlannerOptions& options) {
    double best = infinity;
    Placement placement;
    std::function<void(std::size_t, std::size_t)> extend =
        [&](std::size_t begin, std::size_t device) {
            for (std::size_t d = device; d < model.num_devices(); ++d) {
                for (std::size_t end = begin + 1; end <= model.num_ops();
                     ++end) {
                    placement.stages.push_back(
                        {{begin, end},
                         {DeviceId(static_cast<std::uint32_t>(d))}});
                    if (end == model.num_ops()) {
                        best = std::min(
                            best, estimate_step_s(model, placement, options));
                    } else {
                        extend(end, d + 1);
                    }
                    placement.stages.pop_back();
                }
            }
        };
    extend(0, 0);
    return best;
}

//! The end of the step is not part of what is minimised: no exchange of
//! gradients, and free updates.
CostModel make_model_without_update(std::mt19937& random, CaseShape shape) {
    shape.parameter = CaseShape::Parameter::by_one;
    const OpGraph graph = make_random_graph(random, shape);
    const Workload workload = make_random_workload(random, shape.num_ops);
    Topology topology = make_random_topology(random, shape);
    for (DeviceKind& kind : topology.kinds) {
        kind.update_bytes_per_s = infinity;
    }
    if (shape.num_ops % 2 == 0) {
        for (Link& link : topology.site_links) {
            link.eager_bytes = 1e4;
            link.rendezvous_s = 0.5;
        }
    }
    return {graph, workload, topology, 8};
}

void expect_valid(const CostModel& model, const Placement& placement) {
    std::vector<char> is_used(model.num_devices(), 0);
    std::size_t begin = 0;
    for (const StagePlacement& stage : placement.stages) {
        EXPECT_EQ(stage.ops.begin, begin);
        EXPECT_GT(stage.ops.end, stage.ops.begin);
        begin = stage.ops.end;
        ASSERT_EQ(stage.devices.size(), 1u);
        EXPECT_EQ(is_used.at(stage.devices[0].get()), 0);
        is_used.at(stage.devices[0].get()) = 1;
    }
    EXPECT_EQ(begin, model.num_ops());
}

TEST(ContiguousPartitionTest, equals_exhaustion_where_the_order_is_fixed) {
    std::mt19937 random(11);
    for (int trial = 0; trial < 250; ++trial) {
        CaseShape shape;
        shape.num_ops = 1 + static_cast<int>(random() % 9);
        shape.num_devices = 1 + static_cast<int>(random() % 4);
        shape.memory = trial % 2 == 0 ? CaseShape::Memory::limited
                                      : CaseShape::Memory::unlimited;
        const CostModel model = make_model_without_update(random, shape);
        const PlannerOptions options = random_options(random);
        const double best = best_in_order(model, options);

        const auto found = partition_contiguous(model,
                                                {given_order(model),
                                                 all_cuts(model),
                                                 options.objective,
                                                 options.memory,
                                                 options.micro_batches,
                                                 options.use,
                                                 {}});

        ASSERT_EQ(found.has_value(), best < infinity) << "trial " << trial;
        if (found) {
            expect_valid(model, *found);
            EXPECT_NEAR(
                estimate_step_s(model, *found, options), best, 1e-9 * best)
                << "trial " << trial;
        }
    }
}

TEST(OpFenceTest, leaves_no_device_out_where_all_are_to_be_used) {
    std::mt19937 random(17);
    for (int trial = 0; trial < 60; ++trial) {
        CaseShape shape;
        shape.num_devices = 1 + static_cast<int>(random() % 8);
        shape.num_ops = shape.num_devices + static_cast<int>(random() % 20);
        const CostModel model = make_random_model(random, shape);
        PlannerOptions options = random_options(random);
        options.use = DeviceUse::all;

        const Placement placement = place_op_fence(model, options);

        expect_valid(model, placement);
        EXPECT_EQ(placement.stages.size(), model.num_devices());
        EXPECT_LE(
            estimate_step_s(model, placement, options),
            estimate_step_s(model, place_equal_flops(model, options), options));
    }
}

TEST(OpFenceTest, is_valid_fits_and_is_never_worse_than_a_baseline) {
    std::mt19937 random(5);
    int num_placed = 0;
    for (int trial = 0; trial < 100; ++trial) {
        CaseShape shape;
        shape.num_ops = 1 + static_cast<int>(random() % 30);
        shape.num_devices = 1 + static_cast<int>(random() % 8);
        shape.memory = trial % 2 == 0 ? CaseShape::Memory::limited
                                      : CaseShape::Memory::unlimited;
        shape.lines =
            trial % 3 == 0 ? CaseShape::Lines::shared : CaseShape::Lines::own;
        const CostModel model = make_random_model(random, shape);
        const PlannerOptions options = random_options(random);
        std::vector<double> baselines;
        for (const auto planner :
             {place_equal_ops, place_equal_flops, place_equal_memory}) {
            if (shape.num_devices <= shape.num_ops) {
                baselines.push_back(
                    estimate_step_s(model, planner(model, options), options));
            }
        }

        Placement placement;
        try {
            placement = place_op_fence(model, options);
        } catch (const InputError&) {
            for (const double baseline : baselines) {
                EXPECT_EQ(baseline, infinity) << "trial " << trial;
            }
            continue;
        }

        ++num_placed;
        expect_valid(model, placement);
        const double step_s = estimate_step_s(model, placement, options);
        EXPECT_LT(step_s, infinity);
        for (const double baseline : baselines) {
            EXPECT_LE(step_s, baseline) << "trial " << trial;
        }
        EXPECT_EQ(place_op_fence(model, options), placement);
    }
    EXPECT_GT(num_placed, 50);
}

TEST(OpFenceTest, is_within_5_percent_of_the_optimum_in_95_of_100_cases) {
    std::mt19937 random(3);
    std::vector<double> ratios;
    while (ratios.size() < 500) {
        CaseShape shape;
        shape.num_ops = 3 + static_cast<int>(random() % 6);
        shape.num_devices = 2 + static_cast<int>(random() % 3);
        shape.memory = random() % 4 == 0 ? CaseShape::Memory::limited
                                         : CaseShape::Memory::unlimited;
        shape.lines = random() % 4 == 0 ? CaseShape::Lines::shared
                                        : CaseShape::Lines::own;
        const CostModel model = make_random_model(random, shape);
        const PlannerOptions options = random_options(random);
        double best = infinity;
        try {
            best = estimate_step_s(
                model, place_exhaustive(model, options), options);
        } catch (const InputError&) {
            continue;  // nothing fits
        }

        double found = infinity;
        try {
            found =
                estimate_step_s(model, place_op_fence(model, options), options);
        } catch (const InputError&) {
        }

        EXPECT_GE(found, best * (1 - 1e-12));
        ratios.push_back(found / best);
    }

    std::ranges::sort(ratios);
    const auto num_close = std::ranges::count_if(
        ratios, [](double ratio) { return ratio <= 1.05; });
    const auto num_best = std::ranges::count_if(
        ratios, [](double ratio) { return ratio <= 1 + 1e-9; });
    std::printf(
        "of %zu cases %ld optimal, %ld within 5%%; 95th percentile %.4f, "
        "worst %.4f\n",
        ratios.size(),
        static_cast<long>(num_best),
        static_cast<long>(num_close),
        ratios[ratios.size() * 95 / 100],
        ratios.back());
    EXPECT_GE(num_close, static_cast<long>(ratios.size() * 95 / 100));
}

//! A chain of equal values on random devices, joined by slow links.
CostModel make_slow_chain(std::mt19937& random, const CaseShape& shape) {
    Workload workload = make_random_workload(random, shape.num_ops);
    for (OpCost& cost : workload.ops) {
        cost.has_backward = true;
    }
    Topology topology = make_random_topology(random, shape);
    for (Link& link : topology.site_links) {
        link = {link.latency_s / 100, link.bandwidth_bytes_per_s / 10};
    }
    return {FenceCase(shape.num_ops).graph(), workload, topology, 8};
}

TEST(OpFenceTest, is_close_to_the_optimum_with_compression) {
    std::mt19937 random(31);
    std::vector<double> ratios;
    int num_better = 0;
    while (ratios.size() < 100) {
        CaseShape shape;
        shape.num_ops = 3 + static_cast<int>(random() % 5);
        shape.num_devices = 2 + static_cast<int>(random() % 2);
        shape.lines = random() % 4 == 0 ? CaseShape::Lines::shared
                                        : CaseShape::Lines::own;
        const CostModel model = make_slow_chain(random, shape);
        PlannerOptions options = random_options(random);
        const Placement dense = place_op_fence(model, options);
        CompressionOptions compression;
        compression.rule = "adaptive";
        const FenceRule rule(model, compression, ErrorTable());
        options.rule = &rule;

        const Placement found = place_op_fence(model, options);

        expect_valid(model, found);
        const double found_s = estimate_step_s(model, found, options);
        const double best_s =
            estimate_step_s(model, place_exhaustive(model, options), options);
        EXPECT_GE(found_s, best_s * (1 - 1e-12));
        ratios.push_back(found_s / best_s);
        // Planned with compression, not compressed afterwards.
        num_better +=
            found_s < 0.98 * estimate_step_s(model, dense, options) ? 1 : 0;
    }

    std::ranges::sort(ratios);
    std::printf(
        "of %zu cases 95th percentile %.4f, worst %.4f; %d better than a dense "
        "placement that is compressed\n",
        ratios.size(),
        ratios[ratios.size() * 95 / 100],
        ratios.back(),
        num_better);
    EXPECT_LE(ratios[ratios.size() * 95 / 100], 1.05);
    EXPECT_GE(num_better, 5);
}

}  // namespace
}  // namespace fusionllm::test
