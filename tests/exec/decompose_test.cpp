#include "fusionllm/graph/decompose.hpp"

#include <cmath>
#include <functional>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "fusionllm/exec/operator_call.hpp"
#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/graph/graph_hash.hpp"
#include "fusionllm/util/error.hpp"

#include "stage_chain.hpp"

namespace fusionllm::test {
namespace {

using Sizes = std::vector<std::int64_t>;
using Tensors = std::vector<at::Tensor>;
using ::testing::HasSubstr;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double tolerance = 1e-6;

bool is_any(const Op&) {
    return true;
}

//! A loss of one operator on parameters, and the same in plain LibTorch.
struct Case {
    std::string name;
    std::string target;
    std::vector<Sizes> parameters;
    std::vector<Argument> more;  //!< arguments after the parameters
    Sizes output;
    std::function<at::Tensor(const Tensors&)> plain;
};

//! sum(operator(parameters) * input)
OpGraph make_graph(const Case& one) {
    GraphBuilder graph(one.name);
    const TensorType type{DType::f32, one.output};
    const ValueId weights = graph.add_input("weights", type);
    std::vector<Argument> arguments;
    for (std::size_t i = 0; i < one.parameters.size(); ++i) {
        arguments.emplace_back(
            graph.add_parameter(fmt::format("p.{}", i),
                                {DType::f32, one.parameters[i]},
                                {Initializer::Kind::normal, 1.0}));
    }
    arguments.insert(arguments.end(), one.more.begin(), one.more.end());
    const ValueId y = graph.add_op("h.op", one.target, arguments, type);
    const ValueId product =
        graph.add_op("product", "aten::mul.Tensor", {y, weights}, type);
    graph.set_loss(
        graph.add_op("loss", "aten::sum", {product}, {DType::f32, {}}));
    return graph.build();
}

at::Tensor attend(const Tensors& qkv, double scale, const at::Tensor& mask) {
    at::Tensor scores = at::matmul(qkv[0], qkv[1].transpose(-1, -2)) * scale;
    if (mask.defined()) {
        scores = scores.masked_fill(mask, -infinity);
    }
    return at::matmul(at::softmax(scores, -1), qkv[2]);
}

std::vector<Case> all_cases() {
    const Sizes q{2, 3, 5, 4};
    const Sizes k{2, 3, 7, 4};
    const Sizes v{2, 3, 7, 6};
    const Sizes y{2, 3, 5, 6};
    const NoArgument none;
    const char* attention = "aten::scaled_dot_product_attention";
    return {
        {"attention",
         attention,
         {q, k, v},
         {},
         y,
         [](const Tensors& p) { return attend(p, 0.5, {}); }},
        {"scaled attention",
         attention,
         {q, k, v},
         {none, 0.0, false, 0.25},
         y,
         [](const Tensors& p) { return attend(p, 0.25, {}); }},
        {"causal attention",
         attention,
         {q, q, q},
         {none, 0.0, true},
         q,
         [](const Tensors& p) {
             return attend(p, 0.5, at::ones({5, 5}, at::kBool).triu(1));
         }},
        {"rms norm",
         "aten::rms_norm",
         {{3, 8}},
         {Sizes{8}, none, 1e-5},
         {3, 8},
         [](const Tensors& p) {
             return p[0] * at::rsqrt((p[0] * p[0]).mean(-1, true) + 1e-5);
         }},
    };
}

//! By plain LibTorch: the loss, then the gradients by parameter.
Tensors compute_plainly(const Case& one,
                        const OpGraph& graph,
                        const at::Tensor& weights) {
    Tensors leaves;
    for (const Parameter& parameter : graph.signature().parameters) {
        leaves.push_back(from_host(initial_value(graph, parameter, chain_seed),
                                   at::Device(at::kCPU))
                             .requires_grad_(true));
    }
    const at::Tensor loss = (one.plain(leaves) * weights).sum();
    Tensors result = torch::autograd::grad({loss}, leaves);
    result.insert(result.begin(), loss.detach());
    return result;
}

Tensors compute(const OpGraph& graph, const at::Tensor& weights) {
    StageChain chain(graph, {}, 1);
    const ChainResult result = chain.train(0, {{to_host(weights)}});
    Tensors all{at::tensor(result.loss, at::kFloat)};
    for (const HostTensor& gradient : result.gradients) {
        all.push_back(from_host(gradient, at::Device(at::kCPU)));
    }
    return all;
}

void expect_close(const Tensors& found, const Tensors& wanted) {
    ASSERT_EQ(found.size(), wanted.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
        const double scale = 1 + wanted[i].abs().max().item<double>();
        EXPECT_LT((found[i] - wanted[i]).abs().max().item<double>(),
                  tolerance * scale)
            << i;
    }
}

TEST(Decompose, gives_the_numbers_of_the_operator) {
    for (const Case& one : all_cases()) {
        SCOPED_TRACE(one.name);
        const OpGraph graph = make_graph(one);
        const OpGraph parts = decompose(graph, is_any);
        const at::Tensor weights = at::randn(one.output);

        const Tensors wanted = compute_plainly(one, graph, weights);

        EXPECT_GT(parts.ops().size(), graph.ops().size());
        expect_close(compute(parts, weights), wanted);
        bool has_operator = true;
        for (const OperatorCall& call : calls_of(graph)) {
            has_operator &= find_call_problem(call).empty();
        }
        if (has_operator) {  // LibTorch 2
            expect_close(compute(graph, weights), wanted);
        }
    }
}

TEST(Decompose, uses_only_what_every_libtorch_has) {
    for (const Case& one : all_cases()) {
        for (const OperatorCall& call :
             calls_of(decompose(make_graph(one), is_any))) {
            EXPECT_EQ(find_call_problem(call), "") << call.target;
        }
    }
}

TEST(Decompose, keeps_the_name_of_the_op_its_value_and_the_signature) {
    const OpGraph graph = make_graph(all_cases().front());
    const OpGraph parts = decompose(graph, is_any);

    std::set<std::string> names;
    for (const Op& op : parts.ops()) {
        names.insert(op.name);
        EXPECT_TRUE(op.name == "product" || op.name == "loss" ||
                    op.name.starts_with("h.op"))
            << op.name;
    }
    EXPECT_TRUE(names.contains("h.op"));
    ASSERT_EQ(parts.signature().parameters.size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(parts.signature().parameters[i].name,
                  graph.signature().parameters[i].name);
    }
    const auto has_value = [](const OpGraph& any, const std::string& name) {
        return std::ranges::count(any.values(), name, &Value::name);
    };
    EXPECT_EQ(has_value(graph, "h.op"), 1);
    EXPECT_EQ(has_value(parts, "h.op"), 1);
}

TEST(Decompose, leaves_alone_what_is_not_wanted) {
    const OpGraph graph = make_graph(all_cases().front());

    EXPECT_EQ(decompose(graph, [](const Op& op) { return op.name == "loss"; }),
              graph);
    EXPECT_EQ(decompose(graph, [](const Op&) { return false; }), graph);
}

TEST(Decompose, masks_of_dropout_are_ours_and_go_in_evaluation) {
    Case one = all_cases().front();
    one.more = {NoArgument{}, 0.5};
    const OpGraph parts = decompose(make_graph(one), is_any);

    const OpGraph evaluated = evaluation_form(parts);

    EXPECT_TRUE(std::ranges::any_of(parts.ops(), [](const Op& op) {
        return op.target == "fusionllm::dropout_mask";
    }));
    EXPECT_EQ(evaluated.ops().size() + 2, parts.ops().size());
}

TEST(Decompose, hash_is_the_same_before_and_after) {
    const OpGraph graph = make_graph(all_cases().front());
    const OpGraph parts = decompose(graph, is_any);

    EXPECT_NE(graph_hash(graph), graph_hash(parts));
    EXPECT_EQ(portable_hash(graph), graph_hash(parts));
    EXPECT_EQ(portable_hash(parts), graph_hash(parts));
    EXPECT_TRUE(is_portable_hash(portable_hash(parts), graph));
    EXPECT_FALSE(is_portable_hash(graph_hash(graph), graph));
}

TEST(Decompose, refuses_a_call_that_is_none_of_the_operator) {
    Case one = all_cases().front();
    one.more = {NoArgument{}, 0.0, false, 0.5, false, false};
    const OpGraph graph = make_graph(one);

    try {
        decompose(graph, is_any);
        FAIL();
    } catch (const InputError& error) {
        EXPECT_THAT(error.what(), HasSubstr("op 'h.op' gives 9 arguments"));
    }
}

}  // namespace
}  // namespace fusionllm::test
