#include "fusionllm/cost/workload.hpp"

#include <algorithm>

#include <gtest/gtest.h>

#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/graph/resnet.hpp"

namespace fusionllm::test {
namespace {

constexpr Initializer normal{Initializer::Kind::normal, 0.02};

TensorType f32(std::vector<std::int64_t> sizes) {
    return {DType::f32, std::move(sizes)};
}

OpCost cost_of(const OpGraph& graph, const std::string& op) {
    const auto found = std::ranges::find(graph.ops(), op, &Op::name);
    return estimate_workload(graph).ops.at(found - graph.ops().begin());
}

double sum(const Workload& workload, double OpCost::*field) {
    double total = 0;
    for (const OpCost& cost : workload.ops) {
        total += cost.*field;
    }
    return total;
}

Gpt2Options gpt2_xl() {
    Gpt2Options options;
    options.layers = 48;
    options.width = 1600;
    options.heads = 25;
    options.context = 1024;
    options.vocabulary = 50257;
    return options;
}

//! x (8, 4) -> linear -> `target` -> sum = loss
OpGraph chain_with(std::string_view target, std::vector<Argument> tail) {
    GraphBuilder graph("chain");
    const ValueId x = graph.add_input("x", f32({8, 4}));
    const ValueId w = graph.add_parameter("w", f32({2, 4}), normal);
    const ValueId y =
        graph.add_op("y", "aten::linear", {x, w, NoArgument{}}, f32({8, 2}));
    std::vector<Argument> arguments{y};
    arguments.insert(arguments.end(), tail.begin(), tail.end());
    const ValueId z = graph.add_op("z", target, arguments, f32({8, 2}));
    graph.set_loss(graph.add_op("loss", "aten::sum", {z}, f32({})));
    return graph.build();
}

TEST(WorkloadTest, gpt2_xl_takes_3_507_tflop_forward_a_sample) {
    const OpGraph graph = make_gpt2(gpt2_xl(), 1);

    const Workload workload = estimate_workload(graph);

    const double forward = sum(workload, &OpCost::forward_flops);
    EXPECT_NEAR(forward, 3.507e12, 0.005 * 3.507e12);
    // The embedding lookup is no contraction; all others need both gradients.
    EXPECT_NEAR(sum(workload, &OpCost::backward_flops),
                2 * forward,
                0.005 * 2 * forward);
}

TEST(WorkloadTest, gpt2_has_a_row_for_every_op) {
    Gpt2Options options;
    options.dropout = 0.1;
    for (const bool tie : {false, true}) {
        options.tie_embeddings = tie;
        const OpGraph graph = make_gpt2(options, 2);

        const Workload workload = estimate_workload(graph);

        ASSERT_EQ(workload.ops.size(), graph.ops().size());
        for (std::size_t i = 0; i < workload.ops.size(); ++i) {
            EXPECT_FALSE(workload.ops[i].is_estimated) << graph.ops()[i].target;
        }
    }
}

TEST(WorkloadTest, resnet_101_takes_15_6_gflop_forward_an_image) {
    ResnetOptions options;
    options.depth = 101;
    const OpGraph graph = make_resnet(options, 2);

    const Workload workload = estimate_workload(graph);

    double products = 0;
    double backward = 0;
    for (const OpCost& cost : workload.ops) {
        if (cost.kind == OpKind::convolution ||
            cost.kind == OpKind::contraction) {
            products += cost.forward_flops;
            backward += cost.backward_flops;
        }
    }
    // 7.80e9 multiply-adds an image, as torchvision lists it (7.80 GFLOPS).
    EXPECT_NEAR(products, 2 * 2 * 7.80e9, 0.002 * 2 * 2 * 7.80e9);
    // Only the first one, 118 million multiply-adds, needs no second gradient.
    EXPECT_NEAR(2 * products - backward, 2 * 2 * 0.118e9, 1e7);
    EXPECT_TRUE(ops_without_row(graph, workload).empty());
}

TEST(WorkloadTest, a_resnet_keeps_inputs_of_convolutions_and_norms) {
    ResnetOptions options;
    options.depth = 18;
    options.stem = ResnetStem::cifar;
    options.image = 32;
    options.classes = 10;
    const OpGraph graph = make_resnet(options, 1);

    // In the second block, all of (64, 32, 32): each of two norms keeps its
    // input and two numbers a channel; two relus keep their outputs, which the
    // next convolutions keep as well.
    const double tensor = 4.0 * 64 * 32 * 32;
    double saved = 0;
    const Workload workload = estimate_workload(graph);
    for (std::size_t i = 0; i < graph.ops().size(); ++i) {
        if (graph.ops()[i].name.starts_with("layer1.1.")) {
            saved += workload.ops[i].saved_bytes;
        }
    }
    EXPECT_EQ(saved, 4 * tensor + 2 * 2 * 4 * 64);
}

TEST(WorkloadTest, flops_are_proportional_to_the_micro_batch) {
    const auto flops = [](std::int64_t micro_batch) {
        return sum(estimate_workload(make_gpt2({}, micro_batch)),
                   &OpCost::forward_flops);
    };

    EXPECT_NEAR(flops(6) / flops(1), 6.0, 1e-2);
}

TEST(WorkloadTest, a_product_of_matrices_counts_two_a_multiply_add) {
    const OpGraph graph = chain_with("aten::relu", {});

    const OpCost cost = cost_of(graph, "y");

    EXPECT_EQ(cost.forward_flops, 2.0 * 8 * 2 * 4);
    EXPECT_EQ(cost.bytes, 4.0 * (8 * 4 + 2 * 4 + 8 * 2));
}

TEST(WorkloadTest, the_first_layer_needs_no_gradient_of_its_input) {
    const OpGraph graph = chain_with("aten::relu", {});

    const OpCost cost = cost_of(graph, "y");

    EXPECT_EQ(cost.backward_flops, cost.forward_flops);
}

TEST(WorkloadTest, addmm_adds_its_bias) {
    GraphBuilder graph("dense");
    const ValueId x = graph.add_input("x", f32({8, 4}));
    const ValueId w = graph.add_parameter("w", f32({4, 2}), normal);
    const ValueId b = graph.add_parameter("b", f32({2}), normal);
    const ValueId y = graph.add_op("y", "aten::addmm", {b, x, w}, f32({8, 2}));
    graph.set_loss(graph.add_op("loss", "aten::sum", {y}, f32({})));

    const OpCost cost = cost_of(graph.build(), "y");

    EXPECT_EQ(cost.forward_flops, 2.0 * 8 * 2 * 4 + 8 * 2);
    EXPECT_EQ(cost.backward_flops, 2.0 * 8 * 2 * 4 + 8 * 2);
    EXPECT_EQ(cost.saved_bytes, 4.0 * 8 * 4);
}

TEST(WorkloadTest, a_batched_product_counts_every_batch) {
    GraphBuilder graph("batched");
    const ValueId a = graph.add_input("a", f32({3, 5, 8, 4}));
    const ValueId w = graph.add_parameter("w", f32({3, 5, 4, 2}), normal);
    const ValueId y =
        graph.add_op("y", "aten::matmul", {a, w}, f32({3, 5, 8, 2}));
    graph.set_loss(graph.add_op("loss", "aten::sum", {y}, f32({})));

    EXPECT_EQ(cost_of(graph.build(), "y").forward_flops,
              2.0 * 3 * 5 * 8 * 2 * 4);
}

TEST(WorkloadTest, a_convolution_counts_its_window) {
    GraphBuilder graph("convolution");
    const ValueId x = graph.add_input("x", f32({2, 3, 8, 8}));
    const ValueId w = graph.add_parameter("w", f32({6, 3, 5, 5}), normal);
    const ValueId y =
        graph.add_op("y", "aten::conv2d", {x, w}, f32({2, 6, 4, 4}));
    graph.set_loss(graph.add_op("loss", "aten::sum", {y}, f32({})));

    EXPECT_EQ(cost_of(graph.build(), "y").forward_flops,
              2.0 * (2 * 6 * 4 * 4) * (3 * 5 * 5));
}

TEST(WorkloadTest, views_cost_nothing) {
    const OpGraph graph =
        chain_with("aten::view", {std::vector<std::int64_t>{8, 2}});

    OpCost nothing;
    nothing.kind = OpKind::view;
    nothing.output_bytes = 4.0 * 8 * 2;
    nothing.has_backward = true;
    EXPECT_EQ(cost_of(graph, "z"), nothing);
}

TEST(WorkloadTest, an_unknown_op_is_estimated_by_its_bytes) {
    const OpGraph graph = chain_with("aten::lgamma", {});

    const OpCost cost = cost_of(graph, "z");

    EXPECT_TRUE(cost.is_estimated);
    EXPECT_EQ(cost.forward_flops, 0);
    EXPECT_EQ(cost.bytes, 2 * 4.0 * 8 * 2);
    EXPECT_EQ(cost.saved_bytes, 4.0 * 8 * 2);
}

TEST(WorkloadTest, an_embedding_reads_only_the_rows_it_looks_up) {
    GraphBuilder graph("lookup");
    const ValueId ids = graph.add_input("ids", {DType::i64, {6}});
    const ValueId w = graph.add_parameter("w", f32({1000, 4}), normal);
    const ValueId y =
        graph.add_op("y", "aten::embedding", {w, ids}, f32({6, 4}));
    graph.set_loss(graph.add_op("loss", "aten::sum", {y}, f32({})));

    const OpCost cost = cost_of(graph.build(), "y");

    EXPECT_EQ(cost.bytes, 2 * 4.0 * 6 * 4 + 8.0 * 6);
    EXPECT_EQ(cost.saved_bytes, 8.0 * 6);
}

TEST(SavedBytesTest, a_value_that_two_ops_keep_counts_once) {
    GraphBuilder graph("twice");
    const ValueId x = graph.add_input("x", f32({8, 4}));
    const ValueId w = graph.add_parameter("w", f32({2, 4}), normal);
    const ValueId a =
        graph.add_op("a", "aten::linear", {x, w, NoArgument{}}, f32({8, 2}));
    const ValueId b =
        graph.add_op("b", "aten::linear", {x, w, NoArgument{}}, f32({8, 2}));
    const ValueId y =
        graph.add_op("y", "aten::add.Tensor", {a, b}, f32({8, 2}));
    graph.set_loss(graph.add_op("loss", "aten::sum", {y}, f32({})));

    EXPECT_EQ(sum(estimate_workload(graph.build()), &OpCost::saved_bytes),
              4.0 * 8 * 4);
}

TEST(SavedBytesTest, a_view_counts_as_the_tensor_it_shows) {
    GraphBuilder graph("view");
    const ValueId x = graph.add_input("x", f32({8, 4}));
    const ValueId w = graph.add_parameter("w", f32({2, 4}), normal);
    const ValueId y =
        graph.add_op("y", "aten::linear", {x, w, NoArgument{}}, f32({8, 2}));
    const ValueId a = graph.add_op("a", "aten::gelu", {y}, f32({8, 2}));
    const ValueId v = graph.add_op(
        "v", "aten::view", {y, std::vector<std::int64_t>{2, 8}}, f32({2, 8}));
    const ValueId b = graph.add_op("b", "aten::gelu", {v}, f32({2, 8}));
    const ValueId sum_a = graph.add_op("sum_a", "aten::sum", {a}, f32({}));
    const ValueId sum_b = graph.add_op("sum_b", "aten::sum", {b}, f32({}));
    graph.set_loss(
        graph.add_op("loss", "aten::add.Tensor", {sum_a, sum_b}, f32({})));
    const OpGraph built = graph.build();

    EXPECT_EQ(cost_of(built, "a").saved_bytes + cost_of(built, "b").saved_bytes,
              4.0 * 8 * 2);
}

TEST(SavedBytesTest, a_layer_norm_keeps_its_input_and_two_numbers_a_row) {
    const OpGraph graph =
        chain_with("aten::layer_norm", {std::vector<std::int64_t>{2}});

    EXPECT_EQ(cost_of(graph, "z").saved_bytes, 4.0 * 8 * 2 + 8.0 * 8);
}

TEST(SavedBytesTest, a_product_with_a_constant_mask_keeps_the_mask_only) {
    GraphBuilder graph("mask");
    const ValueId x = graph.add_input("x", f32({8, 4}));
    const ValueId mask = graph.add_input("mask", f32({8, 2}));
    const ValueId w = graph.add_parameter("w", f32({2, 4}), normal);
    const ValueId y =
        graph.add_op("y", "aten::linear", {x, w, NoArgument{}}, f32({8, 2}));
    const ValueId z =
        graph.add_op("z", "aten::mul.Tensor", {y, mask}, f32({8, 2}));
    graph.set_loss(graph.add_op("loss", "aten::sum", {z}, f32({})));
    const OpGraph built = graph.build();

    EXPECT_EQ(cost_of(built, "z").saved_bytes, 4.0 * 8 * 2);
    EXPECT_EQ(cost_of(built, "z").backward_flops, 1.0 * 8 * 2);
}

TEST(SavedBytesTest, without_a_loss_nothing_is_kept) {
    GraphBuilder graph("forward");
    const ValueId x = graph.add_input("x", f32({8, 4}));
    const ValueId w = graph.add_parameter("w", f32({2, 4}), normal);
    graph.set_output(
        graph.add_op("y", "aten::linear", {x, w, NoArgument{}}, f32({8, 2})));

    const OpCost cost = cost_of(graph.build(), "y");

    EXPECT_EQ(cost.saved_bytes, 0);
    EXPECT_EQ(cost.backward_flops, 0);
    EXPECT_GT(cost.forward_flops, 0);
}

TEST(SavedBytesTest, a_gpt2_block_keeps_what_one_counts_by_hand) {
    Gpt2Options options;
    options.layers = 1;
    const double saved_1 =
        sum(estimate_workload(make_gpt2(options, 2)), &OpCost::saved_bytes);
    options.layers = 2;
    const double saved_2 =
        sum(estimate_workload(make_gpt2(options, 2)), &OpCost::saved_bytes);

    // A block keeps, in units of (B T, C): two layer norms' inputs and outputs,
    // q, k, v, the merged heads, and 4 + 4 around gelu; then softmax, the mask
    // of the future and the norms' statistics.
    const double rows = 2.0 * options.context;
    const double width = static_cast<double>(options.width);
    const double square =
        static_cast<double>(options.context * options.context);
    const double heads = static_cast<double>(options.heads);
    EXPECT_EQ(saved_2 - saved_1,
              4 * (4 + 3 + 1 + 8) * rows * width + 4 * 2 * heads * square +
                  square + 2 * 8 * rows);
}

}  // namespace
}  // namespace fusionllm::test
