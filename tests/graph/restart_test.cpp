#include "fusionllm/graph/restart.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/graph/resnet.hpp"
#include "fusionllm/graph/slice.hpp"
#include "fusionllm/util/error.hpp"

#include "message_of.hpp"

namespace fusionllm::test {
namespace {

const Gpt2Options small{
    .layers = 3, .width = 8, .heads = 2, .context = 5, .vocabulary = 11};

OpGraph restart_after(const OpGraph& graph,
                      const std::string& name,
                      RestartKind kind) {
    return restart_at(graph, find_cut(graph, name), kind);
}

std::set<std::string> parameter_names(const OpGraph& graph) {
    std::set<std::string> names;
    for (const Parameter& parameter : graph.signature().parameters) {
        names.insert(parameter.name);
    }
    return names;
}

const Parameter& find_parameter(const OpGraph& graph, const std::string& name) {
    for (const Parameter& parameter : graph.signature().parameters) {
        if (parameter.name == name) {
            return parameter;
        }
    }
    throw std::out_of_range("no parameter is named " + name);
}

std::vector<std::string> sorted_targets(const OpGraph& graph) {
    std::vector<std::string> targets;
    for (const Op& op : graph.ops()) {
        targets.push_back(op.target);
    }
    std::ranges::sort(targets);
    return targets;
}

TEST(FindCut, is_after_the_last_op_of_a_block) {
    const OpGraph graph = make_gpt2(small, 2);

    const std::size_t cut = find_cut(graph, "h.1");

    EXPECT_EQ(graph.ops()[cut - 1].name, "h.1.mlp.residual");
    EXPECT_EQ(find_cut(graph, "h.1.mlp.residual"), cut);
    EXPECT_LT(find_cut(graph, "h.0.mlp.c_fc"), cut);
}

TEST(FindCut, names_the_nearest_op) {
    const OpGraph graph = make_gpt2(small, 2);

    EXPECT_EQ(message_of<InputError>([&] { find_cut(graph, "h.1.mpl.gelu"); }),
              "the graph 'gpt2' has no op 'h.1.mpl.gelu', nor ops that begin "
              "with 'h.1.mpl.gelu.'; did you mean 'h.1.mlp.gelu'?");
}

TEST(Restart, leaves_a_shallower_gpt2_of_the_blocks_after_the_cut) {
    const OpGraph graph = make_gpt2(small, 2);
    Gpt2Options one_block = small;
    one_block.layers = 1;

    const OpGraph rest = restart_after(graph, "h.1", RestartKind::embedding);

    EXPECT_EQ(sorted_targets(rest), sorted_targets(make_gpt2(one_block, 2)));
    EXPECT_EQ(parameter_names(rest),
              (std::set<std::string>{"restart.token.weight",
                                     "restart.position.weight",
                                     "wte.weight",
                                     "h.2.ln_1.weight",
                                     "h.2.ln_1.bias",
                                     "h.2.attn.c_attn.weight",
                                     "h.2.attn.c_attn.bias",
                                     "h.2.attn.c_proj.weight",
                                     "h.2.attn.c_proj.bias",
                                     "h.2.ln_2.weight",
                                     "h.2.ln_2.bias",
                                     "h.2.mlp.c_fc.weight",
                                     "h.2.mlp.c_fc.bias",
                                     "h.2.mlp.c_proj.weight",
                                     "h.2.mlp.c_proj.bias",
                                     "ln_f.weight",
                                     "ln_f.bias"}));
}

TEST(Restart, starts_its_embedding_like_that_of_the_tokens) {
    const OpGraph graph = make_gpt2(small, 2);

    const OpGraph rest = restart_after(graph, "h.0", RestartKind::embedding);

    const Parameter& token = find_parameter(rest, "restart.token.weight");
    const Parameter& position = find_parameter(rest, "restart.position.weight");
    const Initializer expected =
        find_parameter(graph, "wte.weight").initializer;
    EXPECT_EQ(to_text(rest.value(token.value).type), "f32[11,8]");
    EXPECT_EQ(to_text(rest.value(position.value).type), "f32[5,8]");
    EXPECT_EQ(token.initializer, expected);
    EXPECT_EQ(position.initializer, expected);
    EXPECT_TRUE(token.has_weight_decay);
}

TEST(Restart, leaves_no_parameter_without_gradient) {
    const OpGraph graph = make_gpt2(small, 2);

    for (const auto kind : {RestartKind::embedding, RestartKind::zeros}) {
        const OpGraph rest = restart_after(graph, "h.0", kind);

        for (const Parameter& parameter : rest.signature().parameters) {
            EXPECT_TRUE(rest.has_gradient(parameter.value)) << parameter.name;
        }
    }
}

TEST(Restart, lets_nothing_reach_the_loss_but_through_the_new_value) {
    const OpGraph graph = make_gpt2(small, 2);

    const OpGraph rest = restart_after(graph, "h.1", RestartKind::zeros);

    // Nothing knows the tokens; they stay an input that the data set gives.
    const auto& inputs = rest.signature().inputs;
    ASSERT_EQ(inputs.size(), 2u);
    EXPECT_EQ(rest.value(inputs[0]).name, "tokens");
    EXPECT_TRUE(rest.users(inputs[0]).empty());
    EXPECT_FALSE(parameter_names(rest).contains("restart.token.weight"));
    EXPECT_FALSE(parameter_names(rest).contains("h.1.ln_1.weight"));
    const auto zeros =
        std::ranges::find(rest.ops(), "restart.zeros", &Op::name);
    ASSERT_NE(zeros, rest.ops().end());
    EXPECT_EQ(zeros->target, "aten::zeros");
    EXPECT_EQ(to_text(rest.value(zeros->outputs[0]).type), "f32[10,8]");
}

TEST(Restart, keeps_dropout_after_the_cut_only) {
    Gpt2Options options = small;
    options.dropout = 0.1;
    const OpGraph graph = make_gpt2(options, 2);

    const OpGraph rest = restart_after(graph, "h.1", RestartKind::embedding);

    for (const Op& op : rest.ops()) {
        EXPECT_FALSE(op.name.starts_with("h.0.") || op.name == "drop.mask")
            << op.name;
    }
    EXPECT_EQ(
        std::ranges::count(rest.ops(), "fusionllm::dropout_mask", &Op::target),
        3);
}

TEST(Restart, can_be_written_and_read) {
    const OpGraph graph = make_gpt2(small, 2);

    const OpGraph rest = restart_after(graph, "h.1", RestartKind::zeros);

    EXPECT_EQ(parse_graph(to_text(rest)), rest);
}

TEST(Restart, refuses_a_cut_that_several_values_cross) {
    const OpGraph graph = make_gpt2(small, 2);

    const std::string error = message_of<InputError>(
        [&] { restart_after(graph, "h.1.mlp.c_fc", RestartKind::embedding); });

    EXPECT_EQ(error,
              "2 values with a gradient cross the cut before op number " +
                  std::to_string(find_cut(graph, "h.1.mlp.c_fc")) +
                  " of the graph 'gpt2' ('h.1.attn.residual', 'h.1.mlp.c_fc'), "
                  "but a restart replaces one; after op 'h.1.attn.residual' "
                  "one value crosses");
}

TEST(Restart, refuses_an_embedding_of_a_graph_without_tokens) {
    const OpGraph graph = make_resnet({.depth = 18}, 1);

    EXPECT_EQ(message_of<InputError>(
                  [&] { restart_at(graph, 9, RestartKind::embedding); }),
              "the graph 'resnet18' cannot start again from token ids: no "
              "embedding in it reads an input of token ids, i64 (batch, "
              "context); take a language model, or let it start from zeros "
              "(restart = \"zeros\")");
}

TEST(Restart, starts_images_from_zeros) {
    const OpGraph graph = make_resnet({.depth = 18}, 2);
    const std::size_t cut = find_cut(graph, "layer3.1");

    const OpGraph rest = restart_at(graph, cut, RestartKind::zeros);

    EXPECT_EQ(rest.ops().front().name, "restart.zeros");
    EXPECT_EQ(rest.value(rest.ops().front().outputs[0]).type,
              graph.value(graph.ops()[cut - 1].outputs[0]).type);
    for (const Parameter& parameter : rest.signature().parameters) {
        EXPECT_TRUE(parameter.name.starts_with("layer4.") ||
                    parameter.name.starts_with("fc."))
            << parameter.name;
    }
    for (const ModelBuffer& buffer : rest.signature().buffers) {
        EXPECT_TRUE(buffer.name.starts_with("layer4.")) << buffer.name;
    }
    EXPECT_FALSE(rest.signature().buffers.empty());
}

TEST(Restart, refuses_a_cut_at_an_end_of_the_graph) {
    const OpGraph graph = make_gpt2(small, 2);

    EXPECT_THROW(restart_at(graph, 0, RestartKind::zeros), InputError);
    EXPECT_THROW(restart_at(graph, graph.ops().size(), RestartKind::zeros),
                 InputError);
}

//! tokens -> a -> b -> loss, and from a to the loss another way.
OpGraph make_leaking_graph(std::string_view way) {
    GraphBuilder graph("leak");
    const TensorType ids{DType::i64, {2, 3}};
    const TensorType rows{DType::f32, {2, 3, 4}};
    const ValueId tokens = graph.add_input("tokens", ids);
    const ValueId weight = graph.add_parameter(
        "weight", {DType::f32, {7, 4}}, {Initializer::Kind::normal, 1});
    const ValueId a =
        graph.add_op("a", "aten::embedding", {weight, tokens}, rows);
    const ValueId b = graph.add_op("b", "aten::relu", {a}, rows);
    const ValueId other = graph.add_op("other", way, {a}, rows);
    const ValueId sum =
        graph.add_op("sum", "aten::add.Tensor", {b, other}, rows);
    graph.set_loss(graph.add_op("loss", "aten::mean", {sum}, {DType::f32, {}}));
    return graph.build();
}

TEST(Restart, refuses_activations_that_cross_without_a_gradient) {
    const OpGraph open = make_leaking_graph("aten::detach");
    std::size_t cut = 1;
    while (open.ops()[cut].name != "sum") {
        ++cut;
    }

    const std::string error = message_of<InputError>(
        [&] { restart_at(open, cut, RestartKind::embedding); });

    EXPECT_NE(
        error.find("the value 'other' crosses the cut before op number 3"),
        std::string::npos)
        << error;
}

TEST(Restart, refuses_a_value_without_a_row_for_each_token) {
    GraphBuilder graph("pooled");
    const ValueId tokens = graph.add_input("tokens", {DType::i64, {2, 3}});
    const ValueId weight = graph.add_parameter(
        "weight", {DType::f32, {7, 4}}, {Initializer::Kind::normal, 1});
    const ValueId a = graph.add_op(
        "a", "aten::embedding", {weight, tokens}, {DType::f32, {2, 3, 4}});
    const ValueId pooled =
        graph.add_op("pooled",
                     "aten::mean.dim",
                     {a, std::vector<std::int64_t>{1}, false},
                     {DType::f32, {2, 4}});
    graph.set_loss(
        graph.add_op("loss", "aten::mean", {pooled}, {DType::f32, {}}));
    const OpGraph built = graph.build();

    const std::string error = message_of<InputError>(
        [&] { restart_at(built, 2, RestartKind::embedding); });

    EXPECT_NE(error.find("is f32[2,4]; a restart needs f32 with a row for "
                         "each token of i64[2,3]"),
              std::string::npos)
        << error;
}

}  // namespace
}  // namespace fusionllm::test
