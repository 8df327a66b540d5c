#include "fusionllm/plan/stage_report.hpp"

#include <algorithm>

#include <gtest/gtest.h>

#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/plan/make_plan.hpp"
#include "fusionllm/wire/message_header.hpp"

#include "chain.hpp"

namespace fusionllm::test {
namespace {

constexpr double adamw_state = 8;

std::vector<StageReport> report(const OpGraph& graph,
                                const Topology& topology,
                                const std::string& schedule,
                                int micro_batches) {
    const Workload workload = estimate_workload(graph);
    const Plan plan = make_plan(
        graph, workload, topology, "equal_ops", schedule, micro_batches);
    return report_stages(plan,
                         graph,
                         CostModel(graph, workload, topology, adamw_state),
                         topology);
}

template <class Field>
double sum_of(const std::vector<StageReport>& stages, Field field) {
    double sum = 0;
    for (const StageReport& stage : stages) {
        sum += static_cast<double>(stage.*field);
    }
    return sum;
}

// Three stages of two ops: w -> relu, relu | relu, relu | relu, sum. Every
// value has 16 bytes, a relu keeps its output.
TEST(StageReportTest, memory_is_what_one_counts_by_hand) {
    const auto stages =
        report(make_chain(6), make_uniform_topology(3), "1f1b", 8);

    ASSERT_EQ(stages.size(), 3u);
    const double parameter = 4 * (4 + 4 + 8);
    const double message = 16 + header_bytes;
    const double output = 16;
    EXPECT_EQ(stages[0].memory_bytes,
              parameter + 3 * 32 + 2 * message + 2 * output);
    EXPECT_EQ(stages[1].memory_bytes, 2 * 32 + 4 * message + 2 * output);
    EXPECT_EQ(stages[2].memory_bytes, 1 * 16 + 2 * message + 2 * output);
}

std::vector<StageReport> report_recomputed(const OpGraph& graph,
                                           const Topology& topology,
                                           int micro_batches) {
    const Workload workload = estimate_workload(graph);
    Plan plan = make_plan(
        graph, workload, topology, "equal_ops", "1f1b", micro_batches);
    plan.recompute = Recompute::on;
    return report_stages(plan,
                         graph,
                         CostModel(graph, workload, topology, adamw_state),
                         topology);
}

// As above, but a micro-batch in flight keeps its message, and only the one
// that computes what its relus give.
TEST(StageReportTest, recompute_keeps_what_came_in) {
    const auto stages =
        report_recomputed(make_chain(6), make_uniform_topology(3), 8);

    const double parameter = 4 * (4 + 4 + 8);
    const double message = 16 + header_bytes;
    const double output = 16;
    EXPECT_EQ(stages[0].memory_bytes,
              parameter + 32 + 2 * message + 2 * output);
    EXPECT_EQ(stages[1].memory_bytes,
              32 + 2 * message + 4 * message + 2 * output);
    EXPECT_EQ(stages[2].memory_bytes,
              16 + 1 * message + 2 * message + 2 * output);
}

TEST(StageReportTest, recompute_keeps_the_inputs_of_the_graph) {
    Gpt2Options options;
    const auto memory = [&](int micro_batches) {
        return report_recomputed(make_gpt2(options, 2),
                                 make_uniform_topology(2),
                                 micro_batches)
            .front()
            .memory_bytes;
    };

    // One more in flight: the tokens of two samples.
    EXPECT_EQ(memory(2) - memory(1), 8.0 * 2 * options.context);
}

TEST(StageReportTest, recompute_computes_forward_twice) {
    Topology topology = make_uniform_topology(3);
    topology.kinds[0].flops_per_s = 4;
    topology.kinds[0].memory_bandwidth_bytes_per_s = 0;

    const auto once = report(make_chain(6), topology, "1f1b", 8);
    const auto twice = report_recomputed(make_chain(6), topology, 8);

    // A relu's forward takes as long as its backward.
    EXPECT_DOUBLE_EQ(twice[1].compute_s, 1.5 * once[1].compute_s);
}

TEST(StageReportTest, gpipe_keeps_every_microbatch) {
    const auto stages =
        report(make_chain(6), make_uniform_topology(3), "gpipe", 8);

    EXPECT_EQ(stages[1].memory_bytes,
              8 * 32 + 4 * (16 + header_bytes) + 2 * 16);
}

TEST(StageReportTest, tells_ops_flops_seconds_and_bytes) {
    Topology topology = make_topology({{"lyon", 1}, {"graz", 2}});
    DeviceKind slow;
    slow.flops_per_s = 4;
    slow.memory_bandwidth_bytes_per_s = 0;
    topology.kinds.push_back(slow);
    topology.devices[1].kind = 1;

    const auto stages = report(make_chain(6), topology, "1f1b", 8);

    EXPECT_EQ(stages[1].device, "graz-0");
    EXPECT_EQ(stages[1].group, "graz");
    EXPECT_EQ(stages[1].num_ops, 2u);
    EXPECT_EQ(stages[1].first_op, "relu.2");
    EXPECT_EQ(stages[1].parameters, 0);
    // Two ops of four elements, forward and backward.
    EXPECT_EQ(stages[1].flops, 8.0 * 2 * 4 * 2);
    EXPECT_EQ(stages[1].compute_s, stages[1].flops / 4);
    EXPECT_EQ(stages[1].send_bytes, 16 + header_bytes);
    EXPECT_EQ(stages[2].send_bytes, 0);
    EXPECT_EQ(stages[0].parameters, 4);
}

TEST(StageReportTest, sums_do_not_depend_on_the_number_of_stages) {
    Gpt2Options options;
    options.tie_embeddings = false;
    const OpGraph graph = make_gpt2(options, 2);
    const auto one = report(graph, make_uniform_topology(1), "1f1b", 3);
    for (const int num_devices : {2, 3, 7, 20}) {
        const auto many =
            report(graph, make_uniform_topology(num_devices), "1f1b", 3);

        EXPECT_EQ(sum_of(many, &StageReport::num_ops), graph.ops().size());
        EXPECT_EQ(sum_of(many, &StageReport::flops), one[0].flops);
        EXPECT_EQ(sum_of(many, &StageReport::parameters), one[0].parameters);
    }
}

TEST(StageReportTest, a_tied_parameter_has_two_gradients_on_one_stage) {
    Gpt2Options options;
    const auto memory = [&](bool tie) {
        options.tie_embeddings = tie;
        return report(
                   make_gpt2(options, 1), make_uniform_topology(1), "1f1b", 1)
            .front()
            .memory_bytes;
    };

    const double elements =
        static_cast<double>(options.vocabulary * options.width);
    EXPECT_EQ(memory(false) - memory(true), elements * (4 + adamw_state));
}

TEST(StageReportTest, gpt2_xl_has_its_published_number_of_parameters) {
    Gpt2Options options;
    options.layers = 48;
    options.width = 1600;
    options.heads = 25;
    options.context = 1024;
    options.vocabulary = 50257;
    const auto stages =
        report(make_gpt2(options, 1), make_uniform_topology(1), "1f1b", 1);

    EXPECT_EQ(stages[0].parameters, 1557611200);
}

TEST(MemoryProblemTest, names_stage_device_and_both_sizes) {
    auto stages = report(make_chain(6), make_uniform_topology(3), "1f1b", 8);
    EXPECT_EQ(find_memory_problem(stages), "");
    stages[1].memory_bytes = 3.0 * (1 << 30);
    stages[1].device_memory_bytes = 2.0 * (1 << 30);

    const std::string problem = find_memory_problem(stages);

    EXPECT_NE(problem.find("stage 1 needs 3.0"), std::string::npos) << problem;
    EXPECT_NE(problem.find("'local-1' has 2.0"), std::string::npos) << problem;
}

TEST(MemoryProblemTest, names_recompute_if_all_stages_fit_with_it) {
    auto stages = report(make_chain(6), make_uniform_topology(3), "1f1b", 8);
    for (StageReport& stage : stages) {
        stage.device_memory_bytes = stage.memory_bytes - 1;
        stage.recomputed_memory_bytes = stage.memory_bytes - 1;
    }
    const std::string advice = "it fits with train.recompute=on";
    EXPECT_NE(find_memory_problem(stages).find(advice), std::string::npos);

    ++stages[2].recomputed_memory_bytes;

    EXPECT_EQ(find_memory_problem(stages).find(advice), std::string::npos);
}

TEST(StageTableTest, has_a_line_a_stage_a_head_and_a_sum) {
    const auto stages =
        report(make_chain(6), make_uniform_topology(3), "1f1b", 8);

    const std::string table = to_table(stages);

    EXPECT_EQ(std::ranges::count(table, '\n'), 2 + 3 + 1);
    EXPECT_EQ(table.rfind("stage", 0), 0u);
    EXPECT_NE(table.find("local-2"), std::string::npos);
    const auto last = table.rfind('\n', table.size() - 2) + 1;
    EXPECT_EQ(table.compare(last, 3, "sum"), 0) << table;
}

TEST(StageTableTest, no_stages_make_a_sum_of_nothing) {
    EXPECT_NE(to_table({}).find("sum"), std::string::npos);
}

}  // namespace
}  // namespace fusionllm::test
