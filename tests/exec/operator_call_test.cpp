#include "fusionllm/exec/operator_call.hpp"

#include <algorithm>
#include <iterator>
#include <set>

#include <gtest/gtest.h>
#include <torch/library.h>

#include "fusionllm/graph/gpt2.hpp"

namespace fusionllm::test {
namespace {

TEST(OperatorCall, counts_arguments_and_the_absent_ones_at_the_end) {
    const Op op{"x",
                "aten::layer_norm",
                "",
                {ValueId(0), NoArgument{}, 1.0, NoArgument{}, NoArgument{}},
                {ValueId(1)}};

    EXPECT_EQ(call_of(op), (OperatorCall{"aten::layer_norm", "", 5, 2}));
}

TEST(OperatorCall, of_a_graph_stand_once_and_in_order) {
    const auto calls = calls_of(make_gpt2({.layers = 3, .dropout = 0.1}, 2));

    EXPECT_TRUE(std::ranges::is_sorted(calls));
    EXPECT_EQ(std::ranges::adjacent_find(calls), calls.end());
    for (const OperatorCall& call : calls) {
        EXPECT_EQ(find_call_problem(call), "") << call.target;
    }
}

TEST(OperatorCall, problems_say_what_this_libtorch_wants) {
    const auto problem = [](const char* target,
                            const char* overload,
                            std::size_t num_arguments,
                            std::size_t num_absent) {
        return find_call_problem({target, overload, num_arguments, num_absent});
    };

    EXPECT_EQ(problem("aten::transpose", "int", 3, 0), "");
    EXPECT_EQ(problem("fusionllm::dropout_mask", "", 2, 0), "");
    EXPECT_EQ(problem("aten::transpose", "no_such_overload", 3, 0),
              "does not have it");
    EXPECT_EQ(problem("aten::no_such_op", "", 1, 0), "does not have it");
    EXPECT_EQ(problem("aten::tanh", "", 3, 0), "takes 1 argument, not 3");
    EXPECT_EQ(problem("aten::tanh", "", 3, 1), "takes 1 argument, not 2");
    EXPECT_EQ(problem("aten::tanh", "", 3, 2), "");
    EXPECT_EQ(problem("aten::mul", "Tensor", 1, 0),
              "wants 'other' to be given");
}

TEST(OperatorCall, hash_of_all_operators_is_of_this_libtorch_alone) {
    EXPECT_EQ(operators_hash(), operators_hash());
    EXPECT_NE(operators_hash(), 0u);
}

TEST(OperatorCall, hash_tells_apart_what_calls_are_answered_by) {
    const auto hash_with = [](const char* schema) {
        torch::Library library(torch::Library::DEF, "test", {}, __FILE__, 1);
        library.def(schema);
        return operators_hash();
    };
    const char* schemas[] = {"op(int a) -> int",
                             "op.other(int a) -> int",
                             "op(int a, int b) -> int",
                             "op(int a=1) -> int",
                             "op(int c) -> int"};

    std::set<std::uint64_t> hashes{operators_hash()};
    for (const char* schema : schemas) {
        hashes.insert(hash_with(schema));
    }

    EXPECT_EQ(hashes.size(), 1 + std::size(schemas));
    EXPECT_TRUE(hashes.contains(operators_hash()));
}

}  // namespace
}  // namespace fusionllm::test
