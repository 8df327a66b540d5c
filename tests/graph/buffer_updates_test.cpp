#include "fusionllm/graph/buffer_updates.hpp"

#include <gtest/gtest.h>

#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/util/error.hpp"

#include "message_of.hpp"

namespace fusionllm::test {
namespace {

constexpr Initializer zeros{Initializer::Kind::zeros, 0};

using Buffers = std::vector<std::size_t>;

/*!
 * Buffers 0 and 1: running statistics; 2: a counter, which `count` changes and
 * `read` reads after `norm`; 3: a table.
 */
OpGraph make_graph(bool trains) {
    GraphBuilder builder("buffers");
    const TensorType type{DType::f32, {4, 2}};
    const TensorType row{DType::f32, {2}};
    const ValueId x = builder.add_input("x", type);
    const ValueId mean = builder.add_buffer("mean", row, zeros);
    const ValueId variance = builder.add_buffer("variance", row, zeros);
    const ValueId counter = builder.add_buffer("counter", row, zeros);
    const ValueId table = builder.add_buffer("table", row, zeros);
    const ValueId counted =
        builder.add_op("count", "aten::add_.Tensor", {counter, table}, row);
    const ValueId sum =
        builder.add_op("sum", "aten::add.Tensor", {x, counted}, type);
    const ValueId norm = builder.add_op("norm",
                                        "aten::batch_norm",
                                        {sum,
                                         NoArgument{},
                                         NoArgument{},
                                         mean,
                                         variance,
                                         trains,
                                         0.1,
                                         1e-5,
                                         true},
                                        type);
    builder.add_op("read", "aten::add.Tensor", {norm, counter}, type);
    return builder.build();
}

Buffers changed_by(const OpGraph& graph, const std::string& name) {
    for (std::uint32_t i = 0; i < graph.ops().size(); ++i) {
        if (graph.ops()[i].name == name) {
            return changed_buffers(graph, OpId(i));
        }
    }
    return {99};
}

TEST(BufferUpdates, are_those_of_norms_in_training_and_of_ops_in_place) {
    const OpGraph training = make_graph(true);
    const OpGraph evaluation = make_graph(false);

    EXPECT_EQ(changed_by(training, "norm"), (Buffers{0, 1}));
    EXPECT_EQ(changed_by(evaluation, "norm"), Buffers{});
    EXPECT_EQ(changed_by(training, "count"), Buffers{2});
    EXPECT_EQ(changed_by(training, "read"), Buffers{});
}

TEST(BufferUpdates, stay_in_the_stage_of_all_users) {
    const OpGraph graph = make_graph(true);
    ASSERT_EQ(graph.ops()[0].name, "count");
    ASSERT_EQ(graph.ops()[3].name, "read");

    EXPECT_NO_THROW(check_buffer_updates(graph, {}));
    EXPECT_NO_THROW(check_buffer_updates(graph, {4}));
    EXPECT_EQ(
        message_of<InputError>([&] {
            check_buffer_updates(graph, {2, 4});
        }),
        "op 'count' of stage 0 changes buffer 'counter', which op 'read' of "
        "stage 1 uses (a buffer is not sent, so both must be in one stage); "
        "move the end of a stage past both, or train with fewer stages");
}

TEST(BufferUpdates, forbid_the_cuts_between_their_ops) {
    // count, sum, norm, read: the counter is that of the first and the last.
    EXPECT_EQ(find_cuttable(make_graph(true)),
              (std::vector<bool>{true, false, false, false, true}));
}

TEST(EvaluationForm, of_an_op_turns_norms_with_statistics_off) {
    const OpGraph graph = make_graph(true);
    Op norm = graph.ops()[2];
    ASSERT_EQ(norm.name, "norm");

    EXPECT_EQ(evaluation_form(norm).arguments[5], Argument(false));

    norm.target = "aten::instance_norm";
    EXPECT_EQ(evaluation_form(norm).arguments[5], Argument(false));
    norm.arguments[3] = NoArgument{};
    EXPECT_EQ(evaluation_form(norm).arguments[5], Argument(true));
}

}  // namespace
}  // namespace fusionllm::test
