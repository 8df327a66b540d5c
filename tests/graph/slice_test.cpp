#include "fusionllm/graph/slice.hpp"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/graph/graph_builder.hpp"

namespace fusionllm::test {
namespace {

const TensorType row{DType::f32, {4}};

//! a = x w; b = relu(a); c = relu(b); d = a c: a skips over b and c.
OpGraph make_skip() {
    GraphBuilder builder("skip");
    const ValueId x = builder.add_input("x", row);
    const ValueId w = builder.add_parameter("w", row, {});
    const ValueId a = builder.add_op("a", "aten::mul.Tensor", {x, w}, row);
    const ValueId b = builder.add_op("b", "aten::relu", {a}, row);
    const ValueId c = builder.add_op("c", "aten::relu", {b}, row);
    const ValueId d = builder.add_op("d", "aten::mul.Tensor", {a, c}, row);
    const ValueId e = builder.add_op("e", "aten::mul.Tensor", {d, w}, row);
    builder.set_output(builder.add_op("f", "aten::mul.Tensor", {e, x}, row));
    return builder.build();
}

std::vector<std::string> names_of(const OpGraph& graph,
                                  const std::vector<ValueId>& values) {
    std::vector<std::string> names;
    for (const ValueId value : values) {
        names.push_back(graph.value(value).name);
    }
    return names;
}

using Names = std::vector<std::string>;

TEST(Slice, cut_carries_every_made_value_that_is_read_later) {
    const OpGraph graph = make_skip();

    EXPECT_EQ(names_of(graph, values_across(graph, 0)), Names{});
    EXPECT_EQ(names_of(graph, values_across(graph, 1)), Names{"a"});
    EXPECT_EQ(names_of(graph, values_across(graph, 2)), (Names{"a", "b"}));
    EXPECT_EQ(names_of(graph, values_across(graph, 3)), (Names{"a", "c"}));
    EXPECT_EQ(names_of(graph, values_across(graph, 4)), Names{"d"});
    EXPECT_EQ(names_of(graph, values_across(graph, 6)), Names{});
}

TEST(Slice, relays_a_value_that_skips_the_stage) {
    const OpGraph graph = make_skip();

    const StageSlice slice = make_slice(graph, {2, 3});

    EXPECT_EQ(names_of(graph, slice.inputs), (Names{"a", "b"}));
    EXPECT_EQ(names_of(graph, slice.outputs), (Names{"a", "c"}));
    EXPECT_TRUE(slice.user_inputs.empty());
    EXPECT_TRUE(slice.parameter_uses.empty());
}

TEST(Slice, names_the_inputs_and_parameters_that_its_ops_read) {
    const OpGraph graph = make_skip();

    const StageSlice slice = make_slice(graph, {4, 6});

    EXPECT_EQ(names_of(graph, slice.user_inputs), Names{"x"});
    EXPECT_EQ(slice.parameter_uses, (std::vector<ParameterUse>{{0, OpId(4)}}));
}

TEST(Slice, holds_the_buffers_that_its_ops_read) {
    GraphBuilder builder("buffers");
    ValueId x = builder.add_input("x", row);
    const ValueId unused = builder.add_buffer("unused", row, {});
    const ValueId mean = builder.add_buffer("mean", row, {});
    x = builder.add_op("a", "aten::relu", {x}, row);
    x = builder.add_op("b", "aten::mul.Tensor", {x, mean}, row);
    builder.set_output(x);
    const OpGraph graph = builder.build();

    const StageSlice first = make_slice(graph, {0, 1});
    const StageSlice second = make_slice(graph, {1, 2});

    EXPECT_TRUE(first.buffers.empty());
    EXPECT_EQ(second.buffers, std::vector<std::size_t>{1});
    EXPECT_TRUE(second.user_inputs.empty()) << "no data set has them";
    EXPECT_EQ(names_of(graph, second.inputs), Names{"a"});
    EXPECT_EQ(graph.buffer_index(graph.signature().buffers[1].value), 1u);
    EXPECT_EQ(graph.value(graph.signature().buffers[0].value).name, "unused");
    EXPECT_FALSE(graph.parameter_index(unused));
}

TEST(Slice, without_ops_relays_all) {
    const OpGraph graph = make_skip();

    const StageSlice slice = make_slice(graph, {2, 2});

    EXPECT_EQ(slice.inputs, slice.outputs);
    EXPECT_EQ(names_of(graph, slice.inputs), (Names{"a", "b"}));
}

TEST(Slice, lists_the_uses_of_a_parameter_in_op_order) {
    const OpGraph graph = make_skip();

    EXPECT_EQ(uses_of_parameter(graph, 0),
              (std::vector<ParameterUse>{{0, OpId(0)}, {0, OpId(4)}}));
}

class SliceOfGpt2Test : public testing::TestWithParam<std::size_t> {};

TEST_P(SliceOfGpt2Test, stages_cover_the_graph_and_fit_together) {
    const OpGraph graph = make_gpt2({.dropout = 0.1}, 2);
    const std::size_t num_stages = GetParam();
    const std::size_t num_ops = graph.ops().size();

    std::vector<StageSlice> slices;
    for (std::size_t s = 0; s < num_stages; ++s) {
        slices.push_back(make_slice(
            graph, {s * num_ops / num_stages, (s + 1) * num_ops / num_stages}));
    }

    std::size_t num_uses = 0;
    for (std::size_t s = 0; s < num_stages; ++s) {
        num_uses += slices[s].parameter_uses.size();
        if (s > 0) {
            EXPECT_EQ(slices[s].inputs, slices[s - 1].outputs);
        }
        for (const ValueId input : slices[s].inputs) {
            EXPECT_LT(graph.producer(input)->get(), slices[s].ops.begin);
        }
        EXPECT_TRUE(std::ranges::is_sorted(slices[s].inputs));
    }
    EXPECT_TRUE(slices.front().inputs.empty());
    EXPECT_TRUE(slices.back().outputs.empty());
    // One use each, and one more of the embedding at the head.
    EXPECT_EQ(num_uses, graph.signature().parameters.size() + 1);
}

INSTANTIATE_TEST_SUITE_P(Stages,
                         SliceOfGpt2Test,
                         testing::Values(1, 2, 3, 7, 30, 500));

}  // namespace
}  // namespace fusionllm::test
