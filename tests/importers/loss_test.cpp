#include "fusionllm/importers/loss.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

OpGraph make_graph(const TensorType& output) {
    GraphBuilder graph("net");
    const ValueId x = graph.add_input("x", output);
    graph.set_output(graph.add_op("y", "aten::relu", {x}, output));
    return graph.build();
}

TensorType label_type(const OpGraph& graph) {
    return graph.value(graph.signature().inputs.back()).type;
}

TEST(WithLoss, labels_of_cross_entropy_lack_the_classes) {
    const std::pair<const char*, const char*> cases[] = {
        {"f32[4,10]", "i64[4]"},
        {"f32[2,6,17]", "i64[2,6]"},
        {"f32[2,5,8,9]", "i64[2,8,9]"}};

    for (const auto& [output, labels] : cases) {
        const OpGraph graph = with_loss(make_graph(parse_tensor_type(output)),
                                        LossKind::cross_entropy);

        EXPECT_EQ(to_text(label_type(graph)), labels);
        EXPECT_EQ(graph.signature().num_labels, 1);
        ASSERT_TRUE(graph.signature().loss.has_value());
        EXPECT_EQ(graph.op(*graph.producer(*graph.signature().loss)).target,
                  "aten::cross_entropy_loss");
    }
}

TEST(WithLoss, sequence_is_flattened_to_positions) {
    const OpGraph graph = with_loss(make_graph({DType::f32, {2, 6, 17}}),
                                    LossKind::cross_entropy);

    const Op& loss = graph.op(*graph.producer(*graph.signature().loss));
    const auto used = used_values(loss);
    EXPECT_EQ(to_text(graph.value(used[0]).type), "f32[12,17]");
    EXPECT_EQ(to_text(graph.value(used[1]).type), "i64[12]");
}

TEST(WithLoss, labels_of_mean_squared_error_are_like_the_output) {
    const OpGraph graph = with_loss(make_graph({DType::f32, {3, 2}}),
                                    LossKind::mean_squared_error);

    EXPECT_EQ(to_text(label_type(graph)), "f32[3,2]");
}

TEST(WithLoss, output_of_one_dimension_is_refused_for_cross_entropy) {
    EXPECT_THROW(
        with_loss(make_graph({DType::f32, {3}}), LossKind::cross_entropy),
        InputError);
}

TEST(WithLoss, unknown_loss_is_named_with_the_nearest) {
    try {
        parse_loss_kind("cross_entrpy");
        FAIL();
    } catch (const InputError& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("'cross_entropy'"));
    }
}

}  // namespace
}  // namespace fusionllm::test
