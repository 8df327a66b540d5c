#include "fusionllm/graph/op_graph.hpp"

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

const TensorType row{DType::f32, {4}};
const TensorType number{DType::f32, {}};

//! The parts of a graph, to be spoilt or shuffled and put together again.
struct Parts {
    std::vector<Value> values;
    std::vector<Op> ops;
    GraphSignature signature;

    OpGraph build() const { return {"parts", values, ops, signature}; }
};

//! x * w -> relu -> loss
Parts make_line() {
    Parts parts;
    parts.values = {
        {"x", row}, {"w", row}, {"y", row}, {"z", row}, {"loss", number}};
    parts.ops = {
        {"y", "aten::mul", "Tensor", {ValueId(0), ValueId(1)}, {ValueId(2)}},
        {"z", "aten::relu", "", {ValueId(2)}, {ValueId(3)}},
        {"loss", "aten::sum", "", {ValueId(3)}, {ValueId(4)}}};
    parts.signature.inputs = {ValueId(0)};
    parts.signature.parameters = {
        {"w", ValueId(1), {Initializer::Kind::ones, 0}, true}};
    parts.signature.loss = ValueId(4);
    return parts;
}

std::string input_error_of(const Parts& parts) {
    try {
        parts.build();
    } catch (const InputError& error) {
        return error.what();
    }
    return "no error";
}

//! The same graph with ops and value numbers in a random order.
OpGraph shuffled(const OpGraph& graph, unsigned seed) {
    std::mt19937 random(seed);
    Parts parts{graph.values(), graph.ops(), graph.signature()};
    std::vector<std::uint32_t> new_ids(parts.values.size());
    for (std::uint32_t v = 0; v < new_ids.size(); ++v) {
        new_ids[v] = v;
    }
    std::ranges::shuffle(new_ids, random);
    const auto renumber = [&](ValueId& id) { id = ValueId(new_ids[id.get()]); };
    for (std::uint32_t v = 0; v < new_ids.size(); ++v) {
        parts.values[new_ids[v]] = graph.value(ValueId(v));
    }
    for (Op& op : parts.ops) {
        for (Argument& argument : op.arguments) {
            if (auto* value = std::get_if<ValueId>(&argument)) {
                renumber(*value);
            }
        }
        std::ranges::for_each(op.outputs, renumber);
    }
    std::ranges::for_each(parts.signature.inputs, renumber);
    for (Parameter& parameter : parts.signature.parameters) {
        renumber(parameter.value);
    }
    renumber(*parts.signature.loss);
    renumber(*parts.signature.output);
    std::ranges::shuffle(parts.ops, random);
    return {graph.name(), parts.values, parts.ops, parts.signature};
}

TEST(OpGraph, knows_producers_and_users) {
    const OpGraph graph = make_line().build();
    const ValueId x = graph.signature().inputs.front();
    const ValueId y = graph.op(OpId(0)).outputs.front();

    EXPECT_EQ(graph.producer(x), std::nullopt);
    EXPECT_EQ(graph.producer(y), OpId(0));
    EXPECT_EQ(graph.users(y), std::vector{OpId(1)});
    EXPECT_EQ(graph.parameter_index(x), std::nullopt);
    EXPECT_EQ(graph.parameter_index(graph.signature().parameters[0].value), 0u);
}

TEST(OpGraph, lists_a_user_once_even_if_it_reads_a_value_twice) {
    Parts parts = make_line();
    parts.ops[1] = {
        "z", "aten::mul", "Tensor", {ValueId(2), ValueId(2)}, {ValueId(3)}};

    const OpGraph graph = parts.build();

    const ValueId y = graph.op(OpId(0)).outputs.front();
    EXPECT_EQ(graph.users(y), std::vector{OpId(1)});
    EXPECT_EQ(used_values(graph.op(OpId(1))), (std::vector{y, y}));
}

TEST(OpGraph, is_the_same_in_whatever_order_it_is_given) {
    const OpGraph graph = make_gpt2({.layers = 3,
                                     .width = 16,
                                     .heads = 2,
                                     .context = 8,
                                     .vocabulary = 11,
                                     .dropout = 0.1},
                                    2);

    for (unsigned seed = 0; seed < 20; ++seed) {
        EXPECT_EQ(shuffled(graph, seed), graph) << "seed " << seed;
    }
}

TEST(OpGraph, orders_ops_after_what_they_need) {
    Parts parts = make_line();
    std::ranges::reverse(parts.ops);

    const OpGraph graph = parts.build();

    std::set<ValueId> made(graph.signature().inputs.begin(),
                           graph.signature().inputs.end());
    made.insert(graph.signature().parameters[0].value);
    for (const Op& op : graph.ops()) {
        for (const ValueId value : used_values(op)) {
            EXPECT_TRUE(made.contains(value)) << op.name;
        }
        made.insert(op.outputs.begin(), op.outputs.end());
    }
}

TEST(OpGraph, takes_first_the_op_that_leaves_the_fewest_live_bytes) {
    GraphBuilder builder("fork");
    const TensorType big{DType::f32, {1000}};
    const ValueId x = builder.add_input("x", big);
    const ValueId w = builder.add_parameter("w", big, {});
    const ValueId y = builder.add_op("y", "aten::mul.Tensor", {x, w}, big);
    const ValueId a = builder.add_op("a_grows", "aten::relu", {y}, big);
    const ValueId b = builder.add_op("b_shrinks", "aten::sum", {y}, number);
    builder.set_loss(builder.add_op("loss", "aten::dot", {a, b}, number));

    const OpGraph graph = builder.build();

    EXPECT_EQ(graph.op(OpId(1)).name, "b_shrinks");
    EXPECT_EQ(graph.op(OpId(2)).name, "a_grows");
}

TEST(OpGraph, makes_a_constant_just_before_its_first_user) {
    GraphBuilder builder("constants");
    const TensorType big{DType::f32, {1000}};
    ValueId x = builder.add_input("x", big);
    const ValueId w = builder.add_parameter("w", big, {});
    for (const std::string layer : {"a", "b", "c"}) {
        const ValueId one =
            builder.add_op(layer + ".one", "aten::ones", {row.sizes}, row);
        const ValueId flat = builder.add_op(
            layer + ".flat", "aten::view", {one, row.sizes}, row);
        x = builder.add_op(layer + ".w", "aten::mul.Tensor", {x, w}, big);
        x = builder.add_op(layer + ".mul", "aten::mul.Tensor", {x, flat}, big);
    }

    const OpGraph graph = builder.build();

    std::vector<std::string> names;
    for (const Op& op : graph.ops()) {
        names.push_back(op.name);
    }
    EXPECT_EQ(names,
              (std::vector<std::string>{"a.w",
                                        "a.one",
                                        "a.flat",
                                        "a.mul",
                                        "b.w",
                                        "b.one",
                                        "b.flat",
                                        "b.mul",
                                        "c.w",
                                        "c.one",
                                        "c.flat",
                                        "c.mul"}));
}

TEST(OpGraph, begins_a_second_chain_only_when_it_is_needed) {
    GraphBuilder builder("encoder and decoder");
    const TensorType big{DType::f32, {1000}};
    const ValueId x = builder.add_input("x", big);
    const ValueId w = builder.add_parameter("w", big, {});
    ValueId encoded = builder.add_op("encode", "aten::mul.Tensor", {x, w}, big);
    for (const std::string layer : {"encode.1", "encode.2"}) {
        encoded = builder.add_op(
            layer, "aten::linear", {encoded, w}, {DType::f32, {2000}});
    }
    const ValueId decoded =
        builder.add_op("decode", "aten::mul.Tensor", {x, w}, row);
    builder.add_op("join", "aten::dot", {encoded, decoded}, row);

    const OpGraph graph = builder.build();

    EXPECT_EQ(graph.op(OpId(3)).name, "decode");
    EXPECT_EQ(graph.op(OpId(4)).name, "join");
}

TEST(OpGraph, gives_gradients_to_what_leads_from_a_parameter_to_the_loss) {
    GraphBuilder builder("gradients");
    const ValueId x = builder.add_input("x", row);
    const ValueId w = builder.add_parameter("w", row, {});
    builder.add_parameter("unused", row, {});
    const ValueId wx = builder.add_op("wx", "aten::mul.Tensor", {x, w}, row);
    const ValueId mask =
        builder.add_op("mask", "fusionllm::dropout_mask", {wx, 0.5}, row);
    const ValueId kept =
        builder.add_op("kept", "aten::mul.Tensor", {wx, mask}, row);
    const ValueId stopped =
        builder.add_op("stopped", "aten::detach", {kept}, row);
    const ValueId positive = builder.add_op(
        "positive", "aten::gt.Tensor", {kept, x}, {DType::boolean, row.sizes});
    const ValueId chosen = builder.add_op(
        "chosen", "aten::where.self", {positive, kept, stopped}, row);
    builder.add_op("side", "aten::relu", {kept}, row);
    const ValueId loss = builder.add_op("loss", "aten::sum", {chosen}, number);
    builder.set_loss(loss);

    const OpGraph graph = builder.build();

    std::set<std::string> names;
    for (std::uint32_t v = 0; v < graph.values().size(); ++v) {
        if (graph.has_gradient(ValueId(v))) {
            names.insert(graph.value(ValueId(v)).name);
        }
    }
    EXPECT_EQ(names,
              (std::set<std::string>{"w", "wx", "kept", "chosen", "loss"}));
}

TEST(OpGraph, refuses_a_cycle_and_names_its_ops) {
    Parts parts = make_line();
    parts.ops[0].arguments[0] = ValueId(3);

    const std::string error = input_error_of(parts);

    EXPECT_NE(error.find("cycle"), std::string::npos) << error;
    EXPECT_NE(error.find("'y', 'z', 'y'"), std::string::npos) << error;
    EXPECT_EQ(error.find("'loss'"), std::string::npos) << error;
}

TEST(OpGraph, refuses_two_ops_of_one_name) {
    Parts parts = make_line();
    parts.ops[1].name = "y";

    const std::string error = input_error_of(parts);

    EXPECT_NE(error.find("two of the graph's ops are named 'y'"),
              std::string::npos)
        << error;
}

TEST(OpGraph, refuses_two_values_of_one_name) {
    Parts parts = make_line();
    parts.values[3].name = "x";

    const std::string error = input_error_of(parts);

    EXPECT_NE(error.find("values are named 'x'"), std::string::npos) << error;
}

TEST(OpGraph, refuses_a_value_that_it_does_not_have) {
    Parts parts = make_line();
    parts.ops[1].arguments[0] = ValueId(17);

    const std::string error = input_error_of(parts);

    EXPECT_NE(error.find("op 'z' uses value number 17"), std::string::npos)
        << error;
}

TEST(OpGraph, refuses_a_value_made_twice_and_names_both_ops) {
    Parts parts = make_line();
    parts.ops[1].outputs = {ValueId(3), ValueId(2)};

    const std::string error = input_error_of(parts);

    EXPECT_NE(error.find("value 'y' has two sources, op 'y' and op 'z'"),
              std::string::npos)
        << error;
}

TEST(OpGraph, numbers_buffers_after_parameters) {
    GraphBuilder builder("buffers");
    const TensorType type{DType::f32, {4}};
    const ValueId b = builder.add_buffer("b", type, {});
    const ValueId x = builder.add_input("x", type);
    const ValueId w = builder.add_parameter("w", type, {});
    builder.add_op("y", "aten::addcmul", {b, x, w}, type);

    const OpGraph graph = builder.build();

    EXPECT_EQ(graph.signature().inputs[0], ValueId(0));
    EXPECT_EQ(graph.signature().parameters[0].value, ValueId(1));
    EXPECT_EQ(graph.signature().buffers[0].value, ValueId(2));
    EXPECT_EQ(graph.op(OpId(0)).arguments[0], Argument(ValueId(2)));
    EXPECT_FALSE(graph.producer(ValueId(2)));
}

TEST(OpGraph, refuses_a_value_that_nothing_makes) {
    Parts parts = make_line();
    parts.values.push_back({"orphan", row});

    const std::string error = input_error_of(parts);

    EXPECT_NE(error.find("value 'orphan' has no source"), std::string::npos)
        << error;
}

TEST(OpGraph, refuses_a_loss_that_is_not_one_number) {
    Parts parts = make_line();
    parts.values[4].type = row;

    const std::string error = input_error_of(parts);

    EXPECT_NE(error.find("the loss 'loss' is f32[4]"), std::string::npos)
        << error;
}

TEST(OpGraph, refuses_more_labels_than_inputs) {
    Parts parts = make_line();
    parts.signature.num_labels = 2;

    const std::string error = input_error_of(parts);

    EXPECT_NE(error.find("2 labels but only 1 inputs"), std::string::npos)
        << error;
}

TEST(OpGraph, refuses_a_target_that_is_no_operator_name) {
    Parts parts = make_line();
    parts.ops[1].target = "aten::relu.out";

    const std::string error = input_error_of(parts);

    EXPECT_NE(error.find("op 'z' has the target 'aten::relu.out'"),
              std::string::npos)
        << error;
}

TEST(OpGraph, orders_thousands_of_ops_that_are_ready_at_once) {
    GraphBuilder builder("wide");
    const ValueId x = builder.add_input("x", row);
    const ValueId w = builder.add_parameter("w", row, {});
    const ValueId y = builder.add_op("y", "aten::mul.Tensor", {x, w}, row);
    std::vector<ValueOrNone> branches;
    for (int i = 0; i < 3000; ++i) {
        branches.emplace_back(builder.add_op(
            "branch." + std::to_string(i), "aten::relu", {y}, row));
    }
    builder.add_op("all",
                   "aten::cat",
                   {branches, std::int64_t{0}},
                   {DType::f32, {4 * 3000}});

    const OpGraph graph = builder.build();

    EXPECT_EQ(graph.ops().front().name, "y");
    EXPECT_EQ(graph.ops().back().name, "all");
    EXPECT_EQ(graph.users(y).size(), 3000u);
}

}  // namespace
}  // namespace fusionllm::test
