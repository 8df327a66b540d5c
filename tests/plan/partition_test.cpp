#include "fusionllm/plan/partition.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/graph/buffer_updates.hpp"
#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/util/error.hpp"

#include "chain.hpp"
#include "message_of.hpp"
#include "shared_norm.hpp"

namespace fusionllm::test {
namespace {

using Cuts = std::vector<std::size_t>;

const std::vector<std::string> baselines{
    "equal_flops", "equal_ops", "equal_memory"};

//! Where the stages begin, and the number of ops.
Cuts cuts_of(const Placement& placement) {
    Cuts cuts;
    for (const auto& stage : placement.stages) {
        cuts.push_back(stage.ops.begin);
    }
    cuts.push_back(placement.stages.back().ops.end);
    return cuts;
}

Workload make_workload(const std::vector<double>& flops) {
    Workload workload;
    for (const double value : flops) {
        OpCost cost;
        cost.forward_flops = value;
        workload.ops.push_back(cost);
    }
    return workload;
}

Topology make_devices(const std::vector<double>& flops_per_s) {
    Topology topology =
        make_uniform_topology(static_cast<int>(flops_per_s.size()));
    for (std::size_t d = 0; d < flops_per_s.size(); ++d) {
        topology.kinds.resize(flops_per_s.size());
        topology.kinds[d].flops_per_s = flops_per_s[d];
        topology.devices[d].kind = static_cast<std::uint32_t>(d);
    }
    return topology;
}

double max_stage_s(const Cuts& cuts,
                   const std::vector<double>& flops,
                   const std::vector<double>& flops_per_s) {
    double slowest = 0;
    for (std::size_t s = 0; s + 1 < cuts.size(); ++s) {
        double sum = 0;
        for (std::size_t i = cuts[s]; i < cuts[s + 1]; ++i) {
            sum += flops[i];
        }
        slowest = std::max(slowest, sum / flops_per_s[s]);
    }
    return slowest;
}

//! Try all cuts in lexicographic order; the first of the best.
Cuts best_by_exhaustion(const std::vector<double>& flops,
                        const std::vector<double>& flops_per_s) {
    Cuts best;
    double best_s = std::numeric_limits<double>::infinity();
    std::function<void(Cuts)> extend = [&](const Cuts& cuts) {
        const std::size_t left = flops_per_s.size() - (cuts.size() - 1);
        if (left == 1) {
            Cuts whole = cuts;
            whole.push_back(flops.size());
            const double slowest = max_stage_s(whole, flops, flops_per_s);
            if (slowest < best_s) {
                best_s = slowest;
                best = whole;
            }
            return;
        }
        for (std::size_t cut = cuts.back() + 1; cut + left - 1 <= flops.size();
             ++cut) {
            Cuts longer = cuts;
            longer.push_back(cut);
            extend(longer);
        }
    };
    extend({0});
    return best;
}

CostModel make_model(int num_ops,
                     const Workload& workload,
                     const Topology& topology) {
    return {make_chain(num_ops), workload, topology, 0};
}

std::string error_of(const std::string& name, int num_ops, int num_devices) {
    try {
        partition(name,
                  make_model(num_ops,
                             make_workload(std::vector<double>(num_ops, 1.0)),
                             make_uniform_topology(num_devices)),
                  {});
    } catch (const InputError& error) {
        return error.what();
    }
    return "";
}

TEST(PartitionTest, every_op_is_in_exactly_one_stage_for_all_shapes) {
    for (int num_ops = 1; num_ops <= 20; ++num_ops) {
        const OpGraph graph = make_chain(num_ops);
        const Workload workload = estimate_workload(graph);
        for (int num_devices = 1; num_devices <= num_ops; ++num_devices) {
            for (const auto& name : baselines) {
                const Placement placement = partition(
                    name,
                    {graph, workload, make_uniform_topology(num_devices), 0},
                    {});

                const Cuts cuts = cuts_of(placement);
                ASSERT_EQ(cuts.size(), num_devices + 1u);
                EXPECT_EQ(cuts.front(), 0u);
                EXPECT_EQ(cuts.back(), static_cast<std::size_t>(num_ops));
                for (int s = 0; s < num_devices; ++s) {
                    EXPECT_LT(cuts[s], cuts[s + 1]);
                    EXPECT_EQ(placement.stages[s].ops.end, cuts[s + 1]);
                    EXPECT_EQ(placement.stages[s].devices,
                              (std::vector{DeviceId(s)}));
                }
            }
        }
    }
}

TEST(EqualOpsTest, sizes_of_stages_differ_by_one_at_most) {
    for (int num_ops = 1; num_ops <= 30; ++num_ops) {
        const OpGraph graph = make_chain(num_ops);
        for (int num_devices = 1; num_devices <= num_ops; ++num_devices) {
            const Placement placement =
                place_equal_ops({graph,
                                 estimate_workload(graph),
                                 make_uniform_topology(num_devices),
                                 0},
                                {});

            for (const auto& stage : placement.stages) {
                EXPECT_GE(stage.ops.size(),
                          static_cast<std::size_t>(num_ops / num_devices));
                EXPECT_LE(stage.ops.size(),
                          (num_ops + num_devices - 1u) / num_devices);
            }
        }
    }
}

TEST(EqualFlopsTest, finds_the_optimum_with_the_earliest_cuts) {
    std::mt19937 random(7);
    for (int trial = 0; trial < 2000; ++trial) {
        const int num_ops = 1 + static_cast<int>(random() % 9);
        const int num_devices = 1 + static_cast<int>(random() % num_ops);
        // Small whole numbers: many ties, many ops without flops, and sums
        // that are exact.
        std::vector<double> flops;
        for (int i = 0; i < num_ops; ++i) {
            flops.push_back(random() % 3 == 0 ? 0.0 : random() % 8);
        }
        std::vector<double> speeds;
        for (int d = 0; d < num_devices; ++d) {
            speeds.push_back(1.0 + random() % 4);
        }

        const Placement placement = place_equal_flops(
            make_model(num_ops, make_workload(flops), make_devices(speeds)),
            {});

        EXPECT_EQ(cuts_of(placement), best_by_exhaustion(flops, speeds))
            << testing::PrintToString(flops) << " on "
            << testing::PrintToString(speeds);
    }
}

TEST(EqualFlopsTest, fewer_ops_may_need_more_time_on_a_slow_device) {
    const std::vector<double> flops{0, 10, 0, 0};
    const std::vector<double> speeds{1, 0.1, 1};

    const Placement placement = place_equal_flops(
        make_model(4, make_workload(flops), make_devices(speeds)), {});

    EXPECT_EQ(cuts_of(placement), (Cuts{0, 2, 3, 4}));
}

TEST(EqualFlopsTest, a_device_twice_as_fast_gets_twice_the_flops) {
    const std::vector<double> flops(30, 1.0);

    const Placement placement = place_equal_flops(
        make_model(30, make_workload(flops), make_devices({2, 1})), {});

    EXPECT_EQ(cuts_of(placement), (Cuts{0, 20, 30}));
}

TEST(EqualFlopsTest, counts_backward_flops_too) {
    Workload workload = make_workload({1, 1, 1, 1});
    workload.ops[0].backward_flops = 2;

    const Placement placement = place_equal_flops(
        make_model(4, workload, make_uniform_topology(2)), {});

    EXPECT_EQ(cuts_of(placement), (Cuts{0, 1, 4}));
}

TEST(EqualFlopsTest, splits_gpt2_xl_over_48_devices_evenly) {
    Gpt2Options options;
    options.layers = 48;
    options.width = 1600;
    options.heads = 25;
    options.context = 1024;
    options.vocabulary = 50257;
    const OpGraph graph = make_gpt2(options, 1);
    const Workload workload = estimate_workload(graph);
    std::vector<double> flops;
    for (const auto& cost : workload.ops) {
        flops.push_back(cost.forward_flops + cost.backward_flops);
    }
    const std::vector<double> speeds(48, 1.0);

    const Placement placement =
        place_equal_flops({graph, workload, make_devices(speeds), 0}, {});

    double total = 0;
    for (const double value : flops) {
        total += value;
    }
    // The head is one op of more than twice the mean: no partition does better.
    const double head = *std::ranges::max_element(flops);
    EXPECT_GT(head, total / 48);
    EXPECT_LE(max_stage_s(cuts_of(placement), flops, speeds), 1.001 * head);
}

TEST(PartitionTest, more_devices_than_ops_are_refused_with_both_numbers) {
    for (const auto& name : baselines) {
        EXPECT_NE(error_of(name, 37, 48).find("48 devices but only 37 ops;"),
                  std::string::npos);
    }
}

TEST(PartitionTest, ops_that_change_a_buffer_together_share_a_stage) {
    const OpGraph graph = make_shared_norm();
    const Workload workload = estimate_workload(graph);
    const auto model_for = [&](int num_devices) {
        return CostModel(
            graph, workload, make_uniform_topology(num_devices), 0);
    };
    ASSERT_EQ(model_for(2).most_stages(), 8U);  // of 11 ops, 3 cuts less
    for (const std::string& name : partition_names()) {
        const int most = name == "exhaustive" ? 3 : 8;
        for (int devices = 1; devices <= most; ++devices) {
            const Placement placement =
                partition(name, model_for(devices), {.use = DeviceUse::all});

            const Cuts cuts = cuts_of(placement);
            EXPECT_EQ(cuts.size(), static_cast<std::size_t>(devices) + 1)
                << name;
            EXPECT_TRUE(std::ranges::adjacent_find(
                            cuts, std::greater_equal<>()) == cuts.end())
                << name;
            EXPECT_NO_THROW(
                check_buffer_updates(graph, {cuts.begin() + 1, cuts.end()}))
                << name << " of " << devices;
        }
    }
    EXPECT_THAT(
        message_of<InputError>([&] { place_equal_ops(model_for(9), {}); }),
        testing::HasSubstr("9 devices but at most 8 stages"));
}

TEST(PartitionTest, an_unknown_name_gets_the_nearest_one) {
    EXPECT_NE(error_of("equal_flop", 4, 2).find("did you mean 'equal_flops'"),
              std::string::npos);
}

TEST(PartitionTest, a_device_without_speed_is_named) {
    const OpGraph graph = make_chain(4);
    Topology topology = make_devices({1, 0});

    EXPECT_THROW(
        place_equal_flops({graph, estimate_workload(graph), topology, 0}, {}),
        InputError);
}

TEST(EqualMemoryTest, a_device_with_twice_the_memory_gets_twice_as_much) {
    Workload workload = make_workload(std::vector<double>(30, 1.0));
    for (OpCost& cost : workload.ops) {
        cost.saved_bytes = 1e6;
    }
    Topology topology = make_devices({1, 1});
    topology.kinds[0].memory_bytes = 2e9;
    topology.kinds[1].memory_bytes = 1e9;

    const Placement placement =
        place_equal_memory(make_model(30, workload, topology), {});

    EXPECT_EQ(cuts_of(placement), (Cuts{0, 20, 30}));
}

TEST(PartitionTest, a_random_order_of_devices_depends_on_the_seed_alone) {
    const CostModel model =
        make_model(20,
                   make_workload(std::vector<double>(20, 1.0)),
                   make_uniform_topology(8));
    PlannerOptions options;
    options.device_order = DeviceOrder::random;

    const Placement first = place_equal_ops(model, options);

    EXPECT_EQ(place_equal_ops(model, options), first);
    options.seed = 2;
    const Placement second = place_equal_ops(model, options);
    EXPECT_NE(second, first);
    EXPECT_EQ(cuts_of(second), cuts_of(first));
}

}  // namespace
}  // namespace fusionllm::test
