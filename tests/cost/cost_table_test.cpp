// Flops, bytes and what is kept, counted by hand for each family of ops.

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "op_costs.hpp"

namespace fusionllm::test {
namespace {

TEST(ProductTest, a_product_with_both_gradients_costs_two_more_backward) {
    OneOp op;
    const auto a = op.trained({8, 4});
    const auto w = op.parameter({4, 2});

    const OpCost cost = op.cost("aten::mm", {a, w}, {f32({8, 2})});

    EXPECT_EQ(cost.kind, OpKind::contraction);
    EXPECT_EQ(cost.forward_flops, 2.0 * 8 * 4 * 2);
    EXPECT_EQ(cost.backward_flops, 2 * cost.forward_flops);
    EXPECT_EQ(cost.bytes, 4.0 * (8 * 4 + 4 * 2 + 8 * 2));
    EXPECT_EQ(cost.backward_bytes, 2 * cost.bytes);
    EXPECT_EQ(cost.output_bytes, 4.0 * 8 * 2);
    EXPECT_EQ(cost.parameter_bytes, 4.0 * 4 * 2);
    EXPECT_EQ(cost.accumulated_bytes, 4.0 * 4 * 2);
    EXPECT_EQ(cost.saved_bytes, 4.0 * 8 * 4);
}

TEST(ProductTest, batches_are_counted_and_the_added_term_as_well) {
    OneOp op;
    const auto c = op.trained({3, 8, 2});
    const auto a = op.trained({3, 8, 4});
    const auto b = op.trained({3, 4, 2});

    const OpCost cost = op.cost("aten::baddbmm", {c, a, b}, {f32({3, 8, 2})});

    EXPECT_EQ(cost.forward_flops, 3 * (2.0 * 8 * 4 * 2 + 8 * 2));
    EXPECT_EQ(cost.backward_flops, 3 * (4.0 * 8 * 4 * 2 + 8 * 2));
    EXPECT_EQ(cost.saved_bytes, 4.0 * 3 * (8 * 4 + 4 * 2));
}

TEST(ProductTest, products_of_vectors_are_products) {
    OneOp mv;
    const auto a = mv.trained({8, 4});
    const auto x = mv.trained({4});
    OneOp dot;
    const auto y = dot.trained({5});
    const auto z = dot.trained({5});

    EXPECT_EQ(mv.cost("aten::mv", {a, x}, {f32({8})}).forward_flops, 2.0 * 32);
    EXPECT_EQ(dot.cost("aten::dot", {y, z}, {f32({})}).forward_flops, 2.0 * 5);
}

TEST(ProductTest, einsum_multiplies_the_extents_of_its_indices) {
    OneOp op;
    const auto a = op.trained({3, 8, 4});
    const auto b = op.trained({3, 4, 2});

    const OpCost cost =
        op.cost("aten::einsum",
                {std::string("bij,bjk->bik"), std::vector<ValueOrNone>{a, b}},
                {f32({3, 8, 2})});

    EXPECT_EQ(cost.forward_flops, 2.0 * 3 * 8 * 4 * 2);
    EXPECT_EQ(cost.backward_flops, 2 * cost.forward_flops);
}

TEST(ProductTest, a_recurrent_net_passes_every_matrix_once_a_step) {
    OneOp op;
    const auto x = op.trained({7, 2, 3});  // 7 steps, 2 samples
    const auto h = op.input(f32({1, 2, 5}));
    const auto c = op.input(f32({1, 2, 5}));
    const auto w_ih = op.parameter({20, 3});
    const auto w_hh = op.parameter({20, 5});
    const auto bias = op.parameter({20});

    const OpCost cost =
        op.cost("aten::lstm.input",
                {x,
                 std::vector<ValueOrNone>{h, c},
                 std::vector<ValueOrNone>{w_ih, w_hh, bias, bias},
                 true,
                 std::int64_t{1}},
                {f32({7, 2, 5}), f32({1, 2, 5}), f32({1, 2, 5})});

    EXPECT_EQ(cost.kind, OpKind::contraction);
    EXPECT_EQ(cost.forward_flops, 2.0 * 7 * 2 * 20 * (3 + 5));
    EXPECT_EQ(cost.backward_flops, 2 * cost.forward_flops);
}

TEST(ConvolutionTest, stride_and_groups_are_counted_by_output_and_weight) {
    OneOp op;
    const auto x = op.trained({2, 6, 9, 9});
    const auto w = op.parameter({4, 3, 3, 3});  // 2 groups
    const auto b = op.parameter({4});

    const OpCost cost =
        op.cost("aten::conv2d",
                {x, w, b, Ints{2, 2}, Ints{1, 1}, Ints{1, 1}, std::int64_t{2}},
                {f32({2, 4, 5, 5})});

    const double flops = 2.0 * (2 * 4 * 5 * 5) * (3 * 3 * 3);
    EXPECT_EQ(cost.kind, OpKind::convolution);
    EXPECT_EQ(cost.forward_flops, flops + 2 * 4 * 5 * 5);
    EXPECT_EQ(cost.backward_flops, 2 * flops + 2 * 4 * 5 * 5);
    EXPECT_EQ(cost.saved_bytes, 4.0 * 2 * 6 * 9 * 9);
}

TEST(ConvolutionTest, the_first_one_needs_the_gradient_of_its_weight_only) {
    OneOp op;
    const auto x = op.input(f32({2, 3, 9}));
    const auto w = op.parameter({4, 3, 3});

    const OpCost cost = op.cost("aten::conv1d", {x, w}, {f32({2, 4, 7})});

    EXPECT_EQ(cost.forward_flops, 2.0 * (2 * 4 * 7) * (3 * 3));
    EXPECT_EQ(cost.backward_flops, cost.forward_flops);
}

TEST(ConvolutionTest, a_transposed_one_spreads_each_input_over_a_window) {
    const double flops = 2.0 * (2 * 6 * 5 * 5) * (4 * 2 * 2);
    OneOp named;
    const auto x = named.trained({2, 6, 5, 5});
    const auto w = named.parameter({6, 4, 2, 2});
    OneOp flagged;
    const auto u = flagged.trained({2, 6, 5, 5});
    const auto v = flagged.parameter({6, 4, 2, 2});

    const OpCost by_name = named.cost("aten::conv_transpose2d.input",
                                      {x, w, NoArgument{}, Ints{2, 2}},
                                      {f32({2, 4, 10, 10})});
    const OpCost by_flag = flagged.cost("aten::convolution",
                                        {u,
                                         v,
                                         NoArgument{},
                                         Ints{2, 2},
                                         Ints{0, 0},
                                         Ints{1, 1},
                                         true,
                                         Ints{0, 0},
                                         std::int64_t{1}},
                                        {f32({2, 4, 10, 10})});

    EXPECT_EQ(by_name.forward_flops, flops);
    EXPECT_EQ(by_flag.forward_flops, flops);
    EXPECT_EQ(by_flag.backward_flops, 2 * flops);
}

TEST(AttentionTest, fused_attention_keeps_no_scores) {
    OneOp op;  // (B, H, T, D)
    const auto q = op.trained({2, 3, 8, 4});
    const auto k = op.trained({2, 3, 6, 4});
    const auto v = op.trained({2, 3, 6, 5});

    const OpCost cost = op.cost(
        "aten::scaled_dot_product_attention", {q, k, v}, {f32({2, 3, 8, 5})});

    const double pairs = 2 * 3 * 8 * 6;
    EXPECT_EQ(cost.kind, OpKind::attention);
    EXPECT_EQ(cost.forward_flops, pairs * (2 * 4 + 2 * 5 + 5));
    // The scores again; gradients of mixed weights, values, queries and keys.
    EXPECT_EQ(cost.backward_flops, pairs * (3 * 2 * 4 + 2 * 2 * 5 + 2 * 5));
    EXPECT_EQ(cost.saved_bytes, 4.0 * 6 * (8 * 4 + 6 * 4 + 6 * 5 + 8 * 5 + 8));
}

TEST(NormTest, norms_keep_their_input_and_two_numbers_a_set) {
    const double input = 4.0 * 2 * 6 * 5 * 5;
    const auto cost_of_norm = [](std::string_view target, Argument second) {
        OneOp op;
        const auto x = op.trained({2, 6, 5, 5});
        return op.cost(target, {x, second}, {f32({2, 6, 5, 5})});
    };

    const OpCost batch = cost_of_norm("aten::batch_norm", NoArgument{});
    const OpCost layer = cost_of_norm("aten::layer_norm", Ints{5, 5});
    const OpCost group = cost_of_norm("aten::group_norm", std::int64_t{3});
    const OpCost instance = cost_of_norm("aten::instance_norm", NoArgument{});

    EXPECT_EQ(batch.kind, OpKind::normalization);
    EXPECT_EQ(batch.forward_flops, 8.0 * 2 * 6 * 5 * 5);
    EXPECT_EQ(batch.saved_bytes, input + 8.0 * 6);
    EXPECT_EQ(layer.saved_bytes, input + 8.0 * 2 * 6);
    EXPECT_EQ(group.saved_bytes, input + 8.0 * 2 * 3);
    EXPECT_EQ(instance.saved_bytes, input + 8.0 * 2 * 6);
}

TEST(NormTest, softmax_keeps_its_output) {
    OneOp op;
    const auto x = op.trained({8, 4});

    const OpCost cost =
        op.cost("aten::softmax.int", {x, std::int64_t{-1}}, {f32({8, 4})});

    EXPECT_EQ(cost.kind, OpKind::normalization);
    EXPECT_EQ(cost.saved_bytes, 4.0 * 32);
    EXPECT_EQ(cost.bytes, 2 * 4.0 * 32);
    EXPECT_EQ(cost.backward_bytes, 3 * 4.0 * 32);
}

TEST(ElementwiseTest, activations_keep_one_tensor) {
    for (const auto* target : {"aten::relu",
                               "aten::gelu",
                               "aten::silu",
                               "aten::sigmoid",
                               "aten::tanh",
                               "aten::leaky_relu",
                               "aten::elu",
                               "aten::hardswish",
                               "aten::hardtanh",
                               "aten::softplus",
                               "aten::mish"}) {
        OneOp op;
        const auto x = op.trained({8, 4});

        const OpCost cost = op.cost(target, {x}, {f32({8, 4})});

        EXPECT_EQ(cost.kind, OpKind::elementwise) << target;
        EXPECT_FALSE(cost.is_estimated) << target;
        EXPECT_GT(cost.forward_flops, 0) << target;
        EXPECT_EQ(cost.saved_bytes, 4.0 * 32) << target;
        EXPECT_EQ(cost.backward_bytes, 3 * 4.0 * 32) << target;
    }
}

TEST(ElementwiseTest, a_value_with_two_users_adds_up_their_gradients) {
    GraphBuilder graph("residual");
    const auto x = graph.add_input("x", f32({8, 4}));
    const auto w =
        graph.add_parameter("w", f32({4, 4}), {Initializer::Kind::ones, 0});
    const auto y = graph.add_op("y", "aten::mm", {x, w}, f32({8, 4}));
    const auto a = graph.add_op("a", "aten::relu", {y}, f32({8, 4}));
    const auto z = graph.add_op("z", "aten::add.Tensor", {y, a}, f32({8, 4}));
    graph.set_loss(graph.add_op("loss", "aten::sum", {z}, f32({})));
    const OpGraph built = graph.build();

    EXPECT_EQ(cost_of(built, "a").backward_bytes, (3 + 3) * 4.0 * 32);
    EXPECT_EQ(cost_of(built, "z").backward_bytes, 0);
}

TEST(ElementwiseTest,
     a_sum_passes_gradients_on_but_adds_up_what_was_broadcast) {
    OneOp op;
    const auto a = op.trained({8, 4});
    const auto b = op.parameter({4});

    const OpCost cost = op.cost("aten::add.Tensor", {a, b}, {f32({8, 4})});

    EXPECT_EQ(cost.bytes, 4.0 * (32 + 4 + 32));
    EXPECT_EQ(cost.backward_bytes, 4.0 * (32 + 4));
}

TEST(ReductionTest, pooling_looks_at_every_window) {
    OneOp max;
    const auto x = max.trained({2, 3, 8, 8});
    OneOp average;
    const auto y = average.trained({2, 3, 8, 8});

    const OpCost max_cost = max.cost("aten::max_pool2d",
                                     {x, Ints{3, 3}, Ints{2, 2}, Ints{1, 1}},
                                     {f32({2, 3, 4, 4})});
    const OpCost average_cost =
        average.cost("aten::avg_pool2d", {y, Ints{2}}, {f32({2, 3, 4, 4})});

    EXPECT_EQ(max_cost.kind, OpKind::reduction);
    EXPECT_EQ(max_cost.forward_flops, 9.0 * 2 * 3 * 4 * 4);
    // The input, and where the greatest was.
    EXPECT_EQ(max_cost.saved_bytes, 4.0 * 2 * 3 * 64 + 8.0 * 2 * 3 * 16);
    EXPECT_EQ(average_cost.forward_flops, 4.0 * 2 * 3 * 4 * 4);
}

TEST(ReductionTest, sums_keep_nothing_and_the_greatest_keeps_where_it_was) {
    OneOp sum;
    const auto x = sum.trained({8, 4});
    OneOp max;
    const auto y = max.trained({8, 4});

    const OpCost sum_cost = sum.cost("aten::sum", {x}, {f32({})});
    const OpCost max_cost =
        max.cost("aten::max.dim", {y, std::int64_t{1}}, {f32({8}), i64({8})});

    EXPECT_EQ(sum_cost.forward_flops, 32);
    EXPECT_EQ(sum_cost.saved_bytes, 0);
    EXPECT_EQ(max_cost.saved_bytes, 8.0 * 8);
}

TEST(ReductionTest, losses_keep_what_they_compare) {
    OneOp mse;
    const auto x = mse.trained({8, 4});
    const auto target = mse.input(f32({8, 4}));
    OneOp entropy;
    const auto logits = entropy.trained({8, 4});
    const auto labels = entropy.input(i64({8}));

    const OpCost mse_cost = mse.cost("aten::mse_loss", {x, target}, {f32({})});
    const OpCost entropy_cost =
        entropy.cost("aten::cross_entropy_loss", {logits, labels}, {f32({})});

    EXPECT_EQ(mse_cost.saved_bytes, 2 * 4.0 * 32);
    EXPECT_EQ(entropy_cost.saved_bytes, 4.0 * 32 + 8.0 * 8);
}

TEST(LookupTest, an_embedding_writes_the_gradient_of_the_whole_table) {
    OneOp op;
    const auto ids = op.input(i64({6}));
    const auto table = op.parameter({1000, 4});

    const OpCost cost = op.cost("aten::embedding", {table, ids}, {f32({6, 4})});

    EXPECT_EQ(cost.kind, OpKind::lookup);
    EXPECT_EQ(cost.bytes, 2 * 4.0 * 24 + 8.0 * 6);
    EXPECT_EQ(cost.backward_bytes, 4.0 * 24 + 8.0 * 6 + 4.0 * 4000);
    EXPECT_EQ(cost.accumulated_bytes, 4.0 * 4000);
}

TEST(LookupTest, gather_keeps_its_indices) {
    OneOp op;
    const auto x = op.trained({100, 4});
    const auto index = op.input(i64({5, 4}));

    const OpCost cost =
        op.cost("aten::gather", {x, std::int64_t{0}, index}, {f32({5, 4})});

    EXPECT_EQ(cost.bytes, 2 * 4.0 * 20 + 8.0 * 20);
    EXPECT_EQ(cost.saved_bytes, 8.0 * 20);
}

TEST(CopyTest, a_part_along_the_outermost_dim_is_a_view_and_else_a_copy) {
    OneOp rows;
    const auto x = rows.trained({8, 6});
    OneOp columns;
    const auto y = columns.trained({8, 6});

    const OpCost view = rows.cost("aten::split.Tensor",
                                  {x, std::int64_t{4}, std::int64_t{0}},
                                  {f32({4, 6}), f32({4, 6})});
    const OpCost copy = columns.cost("aten::split.Tensor",
                                     {y, std::int64_t{3}, std::int64_t{-1}},
                                     {f32({8, 3}), f32({8, 3})});

    EXPECT_EQ(view.kind, OpKind::view);
    EXPECT_EQ(view.bytes, 0);
    EXPECT_EQ(copy.kind, OpKind::copy);
    EXPECT_EQ(copy.bytes, 2 * 4.0 * 48);
}

TEST(CopyTest, copies_move_bytes_and_keep_nothing) {
    OneOp op;
    const auto a = op.trained({8, 4});
    const auto b = op.trained({8, 2});

    const OpCost cost =
        op.cost("aten::cat",
                {std::vector<ValueOrNone>{a, b}, std::int64_t{1}},
                {f32({8, 6})});

    EXPECT_EQ(cost.kind, OpKind::copy);
    EXPECT_EQ(cost.bytes, 2 * 4.0 * 48);
    EXPECT_EQ(cost.backward_bytes, 2 * 4.0 * 48);
    EXPECT_EQ(cost.saved_bytes, 0);
}

TEST(OpsWithoutRowTest, are_named_once_each) {
    GraphBuilder graph("unknown");
    const auto x = graph.add_input("x", f32({8}));
    const auto a = graph.add_op("a", "aten::lgamma", {x}, f32({8}));
    const auto b = graph.add_op("b", "aten::digamma", {a}, f32({8}));
    const auto c = graph.add_op("c", "aten::lgamma", {b}, f32({8}));
    graph.set_output(graph.add_op("d", "aten::relu", {c}, f32({8})));
    const OpGraph built = graph.build();

    EXPECT_EQ(ops_without_row(built, estimate_workload(built)),
              (std::vector<std::string>{"aten::digamma", "aten::lgamma"}));
    EXPECT_THROW(ops_without_row(built, {}), InputError);
}

}  // namespace
}  // namespace fusionllm::test
