#include <string>

#include <gtest/gtest.h>

#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

const TensorType row{DType::f32, {4}};

TEST(EvaluationForm, of_a_gpt2_is_the_same_without_dropout) {
    const OpGraph with_dropout = make_gpt2({.dropout = 0.1}, 2);
    const OpGraph without = make_gpt2({.dropout = 0}, 2);

    EXPECT_NE(with_dropout, without);
    EXPECT_EQ(evaluation_form(with_dropout), without);
}

TEST(EvaluationForm, of_a_graph_without_dropout_is_that_graph) {
    const OpGraph graph = make_gpt2({.tie_embeddings = false}, 2);

    EXPECT_EQ(evaluation_form(graph), graph);
}

TEST(EvaluationForm, follows_dropout_upon_dropout_to_the_output) {
    GraphBuilder builder("twice");
    ValueId x = builder.add_input("x", row);
    for (const std::string name : {"a", "b"}) {
        const ValueId mask = builder.add_op(
            name + ".mask", "fusionllm::dropout_mask", {x, 0.5}, row);
        x = builder.add_op(name, "aten::mul.Tensor", {mask, x}, row);
    }
    builder.set_output(x);

    const OpGraph graph = evaluation_form(builder.build());

    EXPECT_TRUE(graph.ops().empty());
    EXPECT_EQ(graph.signature().output, graph.signature().inputs[0]);
}

TEST(EvaluationForm, turns_training_flags_off) {
    GraphBuilder builder("flags");
    const ValueId x = builder.add_input("x", row);
    const ValueId w = builder.add_parameter("w", row, {});
    const NoArgument none;
    const ValueId a = builder.add_op("a", "aten::dropout", {x, 0.5, true}, row);
    const ValueId b =
        builder.add_op("b",
                       "aten::batch_norm",
                       {a, w, w, x, x, /*training=*/true, 0.1, 1e-5, true},
                       row);
    builder.add_op("c",
                   "aten::batch_norm",
                   {b, w, w, none, none, /*training=*/true, 0.1, 1e-5, true},
                   row);

    const OpGraph graph = evaluation_form(builder.build());

    EXPECT_EQ(graph.op(OpId(0)).arguments.at(2), Argument(false));
    EXPECT_EQ(graph.op(OpId(1)).arguments.at(5), Argument(false));
    EXPECT_EQ(graph.op(OpId(1)).arguments.at(8), Argument(true));
    EXPECT_EQ(graph.op(OpId(2)).arguments.at(5), Argument(true))
        << "there are no running statistics to take instead";
}

TEST(EvaluationForm, refuses_a_mask_that_is_not_multiplied) {
    GraphBuilder builder("odd");
    const ValueId x = builder.add_input("x", row);
    const ValueId mask =
        builder.add_op("mask", "fusionllm::dropout_mask", {x, 0.5}, row);
    builder.add_op("sum", "aten::add.Tensor", {x, mask}, row);
    const OpGraph graph = builder.build();

    try {
        evaluation_form(graph);
        FAIL() << "no error";
    } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find("op 'sum'"), std::string::npos)
            << error.what();
    }
}

}  // namespace
}  // namespace fusionllm::test
