#include "app/device_software.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const RankSoftware two_and_two{
    {"1.13.1", "1.13.1", "2.6.0", "2.6.0"},
    {DeviceId(0), DeviceId(1), DeviceId(2), DeviceId(3)}};

//! x -> first -> attention -> last, the loss.
OpGraph make_graph(const std::string& first, const std::string& last) {
    const TensorType type{DType::f32, {1, 4, 4}};
    GraphBuilder graph("three");
    const ValueId x = graph.add_parameter("x", type, {});
    const ValueId a = graph.add_op("first", first, {x}, type);
    const ValueId b = graph.add_op(
        "h.attention", "aten::scaled_dot_product_attention", {a, a, a}, type);
    graph.set_loss(graph.add_op("last", last, {b}, {DType::f32, {}}));
    return graph.build();
}

//! Ranks of the first two or the last two lack these operators.
AskRanks lacking(const std::vector<std::string>& in_old,
                 const std::vector<std::string>& in_new) {
    return [=](const std::vector<OperatorCall>& calls) {
        std::vector<std::vector<std::string>> answers(4);
        for (std::size_t rank = 0; rank < 4; ++rank) {
            const auto& missing = rank < 2 ? in_old : in_new;
            for (const OperatorCall& call : calls) {
                answers[rank].push_back(
                    std::ranges::find(missing, call.target) != missing.end()
                        ? "does not have it"
                        : "");
            }
        }
        return answers;
    };
}

std::string message_of(const AskRanks& ask) {
    try {
        fit_to_ranks(make_graph("aten::tanh", "aten::sum"), two_and_two, ask);
    } catch (const InputError& error) {
        return error.what();
    }
    return "";
}

const std::string attention = "aten::scaled_dot_product_attention";

TEST(FitToRanks, a_graph_that_all_can_run_stays_as_it_is) {
    const OpGraph graph = make_graph("aten::tanh", "aten::sum");

    const FittedGraph fitted =
        fit_to_ranks(graph, two_and_two, lacking({}, {}));

    EXPECT_EQ(fitted.graph, graph);
    EXPECT_TRUE(make_op_support(graph, fitted.software).is_everywhere());
    EXPECT_THAT(fitted.notes,
                ElementsAre("the ranks compute with LibTorch 1.13.1 (ranks 0 "
                            "to 1), LibTorch 2.6.0 (ranks 2 to 3)"));
}

TEST(FitToRanks, what_some_lack_is_computed_by_its_parts_for_all) {
    const OpGraph graph = make_graph("aten::tanh", "aten::sum");

    const FittedGraph fitted =
        fit_to_ranks(graph, two_and_two, lacking({attention}, {}));

    EXPECT_GT(fitted.graph.ops().size(), graph.ops().size());
    EXPECT_TRUE(make_op_support(fitted.graph, fitted.software).is_everywhere());
    EXPECT_THAT(
        fitted.notes,
        Contains("aten::scaled_dot_product_attention is computed by its "
                 "parts: LibTorch 1.13.1 (ranks 0 to 1) does not have it"));
}

TEST(FitToRanks, what_has_no_parts_is_placed) {
    const OpGraph graph = make_graph("aten::tanh", "aten::sum");

    const FittedGraph fitted =
        fit_to_ranks(graph, two_and_two, lacking({"aten::tanh"}, {}));
    const OpSupport support = make_op_support(fitted.graph, fitted.software);

    EXPECT_EQ(fitted.graph, graph);
    EXPECT_FALSE(support.can_run(DeviceId(0), {0, 1}));
    EXPECT_TRUE(support.can_run(DeviceId(0), {1, 3}));
    EXPECT_TRUE(support.can_run(DeviceId(2), {0, 3}));
    EXPECT_THAT(
        fitted.notes,
        Contains("aten::tanh is placed where it can be run: LibTorch 1.13.1 "
                 "(ranks 0 to 1) does not have it"));
}

TEST(FitToRanks, an_op_whose_parts_lack_too_is_placed_whole) {
    const FittedGraph fitted =
        fit_to_ranks(make_graph("aten::tanh", "aten::sum"),
                     two_and_two,
                     lacking({attention, "aten::softmax"}, {}));

    EXPECT_FALSE(make_op_support(fitted.graph, fitted.software)
                     .can_run(DeviceId(1), {1, 2}));
    EXPECT_EQ(fitted.graph.ops().size(), 3u);
}

TEST(FitToRanks, each_may_have_what_the_other_lacks) {
    const FittedGraph fitted =
        fit_to_ranks(make_graph("aten::tanh", "aten::sum"),
                     two_and_two,
                     lacking({"aten::tanh"}, {"aten::sum"}));
    const OpSupport support = make_op_support(fitted.graph, fitted.software);

    EXPECT_TRUE(support.can_run(DeviceId(3), {0, 2}));
    EXPECT_FALSE(support.can_run(DeviceId(3), {2, 3}));
    EXPECT_TRUE(support.can_run(DeviceId(1), {1, 3}));
    EXPECT_FALSE(support.can_run(DeviceId(1), {0, 1}));
}

TEST(FitToRanks, devices_are_those_of_their_ranks) {
    RankSoftware crossed = two_and_two;
    std::swap(crossed.devices[0], crossed.devices[3]);

    const FittedGraph fitted =
        fit_to_ranks(make_graph("aten::tanh", "aten::sum"),
                     crossed,
                     lacking({"aten::tanh"}, {}));
    const OpSupport support = make_op_support(fitted.graph, fitted.software);

    EXPECT_TRUE(support.can_run(DeviceId(0), {0, 3}));
    EXPECT_FALSE(support.can_run(DeviceId(3), {0, 3}));
}

TEST(FitToRanks, an_op_that_no_rank_can_run_is_refused_by_name) {
    const std::string message =
        message_of(lacking({"aten::tanh"}, {"aten::tanh"}));

    EXPECT_THAT(message,
                HasSubstr("op 'first' calls aten::tanh, which no rank can run: "
                          "LibTorch 1.13.1 (ranks 0 to 1) does not have it, "
                          "LibTorch 2.6.0 (ranks 2 to 3) does not have it"));
}

}  // namespace
}  // namespace fusionllm::test
