#include <cmath>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/graph/graph_hash.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/hash.hpp"

namespace fusionllm::test {
namespace {

const TensorType row{DType::f32, {4}};
constexpr double infinity = std::numeric_limits<double>::infinity();

//! One op with the arguments after the input "x".
OpGraph make_with_arguments(std::vector<Argument> arguments) {
    GraphBuilder builder("arguments");
    arguments.insert(arguments.begin(), builder.add_input("x", row));
    builder.add_op("y", "aten::any.thing", std::move(arguments), row);
    return builder.build();
}

std::string input_error_of(const std::string& text) {
    try {
        parse_graph(text);
    } catch (const InputError& error) {
        return error.what();
    }
    return "no error";
}

TEST(GraphText, is_one_op_a_line) {
    GraphBuilder builder("line");
    const ValueId x = builder.add_input("x", {DType::f32, {8, 4}});
    const ValueId labels = builder.add_label("labels", {DType::i64, {8}});
    const ValueId w = builder.add_parameter(
        "w", {DType::f32, {2, 4}}, {Initializer::Kind::normal, 0.02});
    builder.add_buffer("mean", {DType::f32, {2}}, {});
    builder.add_buffer(
        "my noise", {DType::f32, {2}}, {Initializer::Kind::uniform, 0.5});
    const ValueId y = builder.add_op(
        "y", "aten::linear", {x, w, NoArgument{}}, {DType::f32, {8, 2}});
    builder.set_loss(builder.add_op("my loss",
                                    "aten::nll_loss_nd",
                                    {y, labels, NoArgument{}},
                                    {DType::f32, {}}));
    builder.set_output(y);

    EXPECT_EQ(to_text(builder.build()),
              "graph line\n"
              "input %x f32[8,4]\n"
              "label %labels i64[8]\n"
              "parameter w %w f32[2,4] normal(0.02) decay\n"
              "buffer mean %mean f32[2] zeros\n"
              "buffer \"my noise\" %\"my noise\" f32[2] uniform(0.5)\n"
              "%y f32[8,2] = y aten::linear(%x, %w, None)\n"
              "%\"my loss\" f32[] = \"my loss\" "
              "aten::nll_loss_nd(%y, %labels, None)\n"
              "loss %\"my loss\"\n"
              "output %y\n");
}

TEST(GraphText, round_trips_a_gpt2) {
    for (const double dropout : {0.0, 0.1}) {
        const OpGraph graph = make_gpt2({.dropout = dropout}, 2);

        const OpGraph parsed = parse_graph(to_text(graph));

        EXPECT_EQ(parsed, graph);
        EXPECT_EQ(graph_hash(parsed), graph_hash(graph));
    }
}

TEST(GraphText, round_trips_every_kind_of_argument) {
    const std::vector<Argument> arguments = {
        NoArgument{},
        ValueId(0),
        std::vector<ValueOrNone>{ValueId(0), NoArgument{}, ValueId(0)},
        std::vector<ValueOrNone>{},
        true,
        false,
        std::int64_t{0},
        std::numeric_limits<std::int64_t>::min(),
        std::numeric_limits<std::int64_t>::max(),
        DType::boolean,
        DType::bf16,
        std::vector<std::int64_t>{1, -2},
        std::vector<std::int64_t>{},
        std::vector<double>{1, 0.5, -infinity},
        std::vector<double>{},
        std::vector<bool>{true, false},
        std::vector<bool>{},
        std::string("tanh"),
        std::string(""),
        std::string("\"quoted\\\" # no comment\nsecond line\t%x")};

    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const OpGraph graph = make_with_arguments({arguments[i]});

        EXPECT_EQ(parse_graph(to_text(graph)), graph) << to_text(graph);
    }
    const OpGraph graph = make_with_arguments(arguments);
    EXPECT_EQ(parse_graph(to_text(graph)), graph) << to_text(graph);
}

TEST(GraphText, keeps_all_digits_of_numbers) {
    const double numbers[] = {0.1,
                              1.0 / 3,
                              2,
                              -0.0,
                              1e300,
                              1e22,
                              5e-324,
                              std::nextafter(1.0, 2.0),
                              infinity,
                              -infinity};

    for (const double number : numbers) {
        const OpGraph parsed =
            parse_graph(to_text(make_with_arguments({number})));

        const Argument argument = parsed.ops()[0].arguments[1];
        ASSERT_TRUE(std::holds_alternative<double>(argument)) << number;
        EXPECT_EQ(std::get<double>(argument), number);
        EXPECT_EQ(std::signbit(std::get<double>(argument)),
                  std::signbit(number));
    }
}

TEST(GraphText, keeps_a_not_a_number) {
    const OpGraph parsed =
        parse_graph(to_text(make_with_arguments({std::nan("")})));

    EXPECT_TRUE(std::isnan(std::get<double>(parsed.ops()[0].arguments.at(1))));
}

TEST(GraphText, round_trips_ops_with_many_outputs_or_none) {
    GraphBuilder builder("outputs");
    const ValueId x = builder.add_input("x", row);
    builder.add_op_with_outputs("many", "aten::unbind.int", {x}, {row, row});
    builder.add_op_with_outputs("none", "aten::nothing", {x}, {});
    const OpGraph graph = builder.build();

    EXPECT_EQ(parse_graph(to_text(graph)), graph) << to_text(graph);
}

TEST(GraphText, takes_lines_in_any_order_with_comments) {
    const OpGraph graph = parse_graph(
        "# a comment\n"
        "graph g\n"
        "\n"
        "  %z f32[4] = z aten::relu(%y)  # the second op\n"
        "%y f32[4]=y aten::relu( %x )\r\n"
        "input %x f32[4]");

    ASSERT_EQ(graph.ops().size(), 2u);
    EXPECT_EQ(graph.ops()[0].name, "y");
}

TEST(GraphText, hash_differs_for_graphs_that_differ) {
    const OpGraph graph = make_with_arguments({0.1});

    EXPECT_NE(graph_hash(graph),
              graph_hash(make_with_arguments({std::nextafter(0.1, 1.0)})));
    EXPECT_EQ(graph_hash(graph), graph_hash(make_with_arguments({0.1})));
}

TEST(GraphText, hash_is_of_everything_but_the_name) {
    const OpGraph graph = parse_graph("graph model\ninput %x f32[4]\n");
    const OpGraph moved = parse_graph("graph \"a copy\"\ninput %x f32[4]\n");

    EXPECT_EQ(graph_hash(graph), graph_hash(moved));
    EXPECT_TRUE(is_graph_hash(graph_hash(graph), moved));
    // Older plans know the graph under its name.
    EXPECT_TRUE(is_graph_hash(hash_text(to_text(graph)), graph));
    EXPECT_FALSE(is_graph_hash(hash_text(to_text(graph)), moved));
}

struct BadText {
    std::string text;
    std::string complaint;
};

class BadGraphTextTest : public testing::TestWithParam<BadText> {};

TEST_P(BadGraphTextTest, is_refused_with_its_line) {
    const std::string error = input_error_of(GetParam().text);

    EXPECT_NE(error.find(GetParam().complaint), std::string::npos) << error;
}

INSTANTIATE_TEST_SUITE_P(
    Texts,
    BadGraphTextTest,
    testing::Values(
        BadText{"", "line 1 of the graph: a graph begins with"},
        BadText{"input %x f32[4]", "line 1 of the graph: a graph begins with"},
        BadText{"graph g\ninputs %x f32[4]", "line 2 of the graph: 'inputs'"},
        BadText{"graph g\ninputs %x f32[4]", "did you mean 'input'"},
        BadText{"graph g\ninput %x f31[4]", "line 2 of the graph: 'f31'"},
        BadText{"graph g\ninput %x f32[4", "line 2"},
        BadText{"graph g\ninput %x f32[4] 7", "end of the line before '7'"},
        BadText{"graph g\ninput %x f32[4]\n%y f32[4] = y aten::relu(%xx)",
                "line 3 of the graph: no line makes the value 'xx'"},
        BadText{"graph g\ninput %x f32[4]\ninput %x f32[4]",
                "line 3 of the graph: value 'x' is made a second time"},
        BadText{"graph g\n%y f32[4] = y aten::relu(1", "expected ','"},
        BadText{"graph g\n%y f32[4] = y aten::relu(12x)", "'12x'"},
        BadText{"graph g\n%y f32[4] = y aten::relu(99999999999999999999)",
                "'99999999999999999999'"},
        BadText{"graph g\n%y f32[4] = y aten::relu([1, 2.5])",
                "different kinds"},
        BadText{"graph g\n%y f32[4] = y aten::relu(\"open)", "closing quote"},
        BadText{"graph g\nparameter w %w f32[4] normal(x) decay", "'x'"},
        BadText{"graph g\nparameter w %w f32[4] gauss decay", "'gauss'"},
        BadText{"graph g\nparameter w %w f32[4] zeros often", "'often'"},
        BadText{"graph g\nbufer b %b f32[4] zeros", "did you mean 'buffer'"},
        BadText{"graph g\nbuffer b %b f32[4] zeros decay",
                "end of the line before 'decay'"},
        BadText{"graph g\nbuffer b %b f32[4] zeros\n"
                "parameter b %p f32[4] zeros decay",
                "are named 'b'"},
        BadText{"graph g\nlabel %l f32[4]\ninput %x f32[4]",
                "line 3 of the graph: an input comes after a label"},
        BadText{"graph g\n%y f32[4] = y aten::relu(%y)", "'y', 'y'"}));

}  // namespace
}  // namespace fusionllm::test
