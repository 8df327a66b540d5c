#include "fusionllm/exec/parameter_store.hpp"

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

const at::Device cpu(at::kCPU);

//! Every parameter is used twice: by a.use0, b.use0, a.use1, b.use1.
OpGraph make_graph(const std::vector<Parameter>& parameters, TensorType type) {
    GraphBuilder builder("parameters");
    ValueId value = builder.add_input("x", type);
    std::vector<ValueId> ids;
    for (const Parameter& parameter : parameters) {
        ids.push_back(
            builder.add_parameter(parameter.name, type, parameter.initializer));
    }
    for (int round = 0; round < 2; ++round) {
        for (std::size_t i = 0; i < ids.size(); ++i) {
            value = builder.add_op(
                parameters[i].name + ".use" + std::to_string(round),
                "aten::add.Tensor",
                {value, ids[i]},
                type);
        }
    }
    return builder.build();
}

Parameter named(const std::string& name, Initializer initializer) {
    return {name, ValueId(0), initializer, true};
}

using Kind = Initializer::Kind;

at::Tensor draw(const std::string& name,
                Initializer initializer,
                TensorType type,
                std::uint64_t seed) {
    const OpGraph graph = make_graph({named(name, initializer)}, type);
    return from_host(
        initial_value(graph, graph.signature().parameters.front(), seed), cpu);
}

TEST(InitialValue, is_a_function_of_seed_and_name) {
    const TensorType type{DType::f32, {7, 3}};
    const Initializer normal{Kind::normal, 1};

    const at::Tensor value = draw("w", normal, type, 1);

    EXPECT_TRUE(at::equal(value, draw("w", normal, type, 1)));
    EXPECT_FALSE(at::equal(value, draw("w", normal, type, 2)));
    EXPECT_FALSE(at::equal(value, draw("v", normal, type, 1)));
}

TEST(InitialValue, does_not_depend_on_the_size_where_both_have_elements) {
    const Initializer uniform{Kind::uniform, 1};

    const at::Tensor few = draw("w", uniform, {DType::f32, {5}}, 1);
    const at::Tensor many = draw("w", uniform, {DType::f32, {11}}, 1);

    EXPECT_TRUE(at::equal(few, many.narrow(0, 0, 5)));
}

TEST(InitialValue, has_the_moments_of_its_distribution) {
    const TensorType type{DType::f32, {100001}};
    const double error = 5 / std::sqrt(100001.0);  // five standard errors

    const at::Tensor normal = draw("w", {Kind::normal, 0.02}, type, 1) / 0.02;
    const at::Tensor uniform = draw("w", {Kind::uniform, 3}, type, 1) / 3;

    EXPECT_NEAR(normal.mean().item<double>(), 0, error);
    EXPECT_NEAR(normal.pow(2).mean().item<double>(), 1, 1.5 * error);
    EXPECT_NEAR(normal.pow(4).mean().item<double>(), 3, 10 * error);
    EXPECT_NEAR(uniform.mean().item<double>(), 0, error);
    EXPECT_NEAR(uniform.pow(2).mean().item<double>(), 1.0 / 3, error);
    EXPECT_LE(uniform.abs().max().item<double>(), 1);
}

TEST(InitialValue, fills_constants) {
    const TensorType type{DType::f32, {2, 3}};

    EXPECT_TRUE(
        at::equal(draw("w", {Kind::zeros, 0}, type, 1), at::zeros({2, 3})));
    EXPECT_TRUE(
        at::equal(draw("w", {Kind::ones, 0}, type, 1), at::ones({2, 3})));
}

TEST(InitialValue, refuses_other_types_than_f32) {
    try {
        draw("w", {Kind::ones, 0}, {DType::f64, {2}}, 1);
        FAIL() << "no InputError";
    } catch (const InputError& error) {
        EXPECT_STREQ(error.what(),
                     "parameter 'w' is f64[2]; only f32 parameters are "
                     "trained");
    }
}

class Store : public testing::Test {
protected:
    Store()
        : graph_(make_graph(
              {named("a", {Kind::normal, 1}), named("b", {Kind::ones, 0})},
              {DType::f32, {3}})) {}

    //! Uses in ops [begin, end).
    ParameterStore make(std::size_t begin, std::size_t end) {
        return {graph_,
                make_slice(graph_, {begin, end}).parameter_uses,
                {1, {}},
                cpu};
    }

    OpGraph graph_;
};

TEST_F(Store, holds_only_the_parameters_that_its_ops_use) {
    const ParameterStore store = make(1, 2);

    ASSERT_EQ(store.indices().size(), 1U);
    EXPECT_TRUE(store.has(store.indices().front()));
    EXPECT_FALSE(store.has(1 - store.indices().front()));
}

TEST_F(Store, asks_once_for_each_parameter_that_it_holds) {
    std::vector<std::string> asked;
    const auto give = [&](const std::string& name) {
        asked.push_back(name);
        return name == "a" ? std::optional(to_host(at::full({3}, 4.0f)))
                           : std::nullopt;
    };

    const ParameterStore all(
        graph_, make_slice(graph_, {0, 4}).parameter_uses, {1, give}, cpu);
    ASSERT_EQ(asked, (std::vector<std::string>{"a", "b"}));
    const ParameterStore one(
        graph_, make_slice(graph_, {1, 2}).parameter_uses, {1, give}, cpu);

    EXPECT_EQ(asked, (std::vector<std::string>{"a", "b", "b"}));
    EXPECT_TRUE(at::equal(all.get(0).value, at::full({3}, 4.0f)));
    EXPECT_TRUE(at::equal(all.get(1).value, at::ones({3}))) << "not drawn";
}

TEST_F(Store, refuses_a_given_value_of_another_type) {
    const auto give = [](const std::string&) {
        return std::optional(to_host(at::ones({4})));
    };
    try {
        const ParameterStore store(
            graph_, make_slice(graph_, {0, 1}).parameter_uses, {1, give}, cpu);
        FAIL() << "no InputError";
    } catch (const InputError& error) {
        EXPECT_STREQ(error.what(),
                     "the given weights have parameter 'a' as f32[4], but in "
                     "the model it is f32[3]; give the weights of this model");
    }
}

TEST_F(Store, shares_the_memory_of_a_parameter_among_its_uses) {
    ParameterStore store = make(0, 4);
    ASSERT_EQ(store.uses().size(), 4U);

    for (const std::size_t index : store.indices()) {
        store.get(index).value.fill_(5);
    }

    for (std::size_t use = 0; use < 4; ++use) {
        EXPECT_TRUE(store.leaf(use).requires_grad());
        EXPECT_TRUE(at::equal(store.leaf(use).detach(), at::full({3}, 5.0f)));
    }
}

TEST_F(Store, accumulates_each_use_apart) {
    ParameterStore store = make(0, 4);
    const at::Tensor one = at::ones({3});

    store.accumulate(0, one);
    store.accumulate(0, one);
    store.accumulate(2, one * 7);

    EXPECT_TRUE(at::equal(store.gradient(0), at::full({3}, 2.0f)));
    EXPECT_TRUE(at::equal(store.gradient(2), at::full({3}, 7.0f)));
    EXPECT_FALSE(store.gradient(1).defined());
    EXPECT_TRUE(at::equal(one, at::ones({3}))) << "the gradient was changed";
}

TEST_F(Store, adds_nothing_for_an_absent_gradient_and_forgets_on_request) {
    ParameterStore store = make(0, 4);
    store.accumulate(0, at::Tensor());
    EXPECT_FALSE(store.gradient(0).defined());

    store.accumulate(0, at::ones({3}));
    store.accumulate(0, at::Tensor());
    EXPECT_TRUE(at::equal(store.gradient(0), at::ones({3})));

    store.clear_gradients();
    EXPECT_FALSE(store.gradient(0).defined());
}

TEST_F(Store, keeps_a_dense_copy_of_an_expanded_gradient) {
    ParameterStore store = make(0, 4);

    store.accumulate(0, at::ones({}).expand({3}));
    store.accumulate(0, at::arange(3, at::kFloat));

    EXPECT_TRUE(at::equal(store.gradient(0), at::tensor({1.0f, 2.0f, 3.0f})));
}

}  // namespace
}  // namespace fusionllm::test
