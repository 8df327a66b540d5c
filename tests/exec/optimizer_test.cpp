#include "fusionllm/exec/optimizer.hpp"

#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

OptimizerOptions make_sgd(double momentum, double weight_decay) {
    OptimizerOptions options;
    options.kind = "sgd";
    options.momentum = momentum;
    options.weight_decay = weight_decay;
    return options;
}

//! The value of a parameter of one element after each update.
std::vector<double> run(const OptimizerOptions& options,
                        double start,
                        const std::vector<double>& gradients,
                        double learning_rate,
                        bool has_weight_decay) {
    const auto optimizer = make_optimizer(options);
    HeldParameter parameter{at::full({1}, start, at::kFloat), {}};
    optimizer->make_state(parameter);
    std::vector<double> values;
    for (const double gradient : gradients) {
        optimizer->update(parameter,
                          {at::full({1}, gradient, at::kFloat),
                           learning_rate,
                           has_weight_decay});
        values.push_back(parameter.value.item<double>());
    }
    return values;
}

TEST(Sgd, follows_the_gradient) {
    const auto values = run(make_sgd(0, 0), 1, {2, -4}, 0.25, true);

    EXPECT_EQ(values, (std::vector<double>{0.5, 1.5}));
}

TEST(Sgd, adds_up_momentum) {
    const auto values = run(make_sgd(0.5, 0), 0, {1, 1, 0}, 1, true);

    EXPECT_EQ(values, (std::vector<double>{-1, -2.5, -3.25}));
}

TEST(Sgd, decays_only_what_shall_decay) {
    const OptimizerOptions options = make_sgd(0, 0.5);

    const auto decayed = run(options, 4, {1}, 0.5, true);
    const auto kept = run(options, 4, {1}, 0.5, false);

    EXPECT_EQ(decayed, std::vector<double>{4 - 0.5 * (1 + 0.5 * 4)});
    EXPECT_EQ(kept, std::vector<double>{4 - 0.5});
}

TEST(AdamW, follows_its_formula) {
    OptimizerOptions options;
    options.beta1 = 0.75;
    options.beta2 = 0.5;
    options.epsilon = 0.125;
    options.weight_decay = 0.5;
    const std::vector<double> gradients{1, -3, 0.5};
    std::vector<double> expected;
    double p = 2;
    double m = 0;
    double v = 0;
    for (std::size_t t = 1; t <= gradients.size(); ++t) {
        const double g = gradients[t - 1];
        p *= 1 - 0.25 * 0.5;
        m = 0.75 * m + 0.25 * g;
        v = 0.5 * v + 0.5 * g * g;
        const double mean = m / (1 - std::pow(0.75, t));
        const double square = v / (1 - std::pow(0.5, t));
        p -= 0.25 * mean / (std::sqrt(square) + 0.125);
        expected.push_back(p);
    }

    const auto values = run(options, 2, gradients, 0.25, true);

    for (std::size_t t = 0; t < expected.size(); ++t) {
        EXPECT_NEAR(values[t], expected[t], 1e-6) << "update " << t;
    }
}

TEST(AdamW, moves_by_the_learning_rate_at_first) {
    const auto values = run({}, 0, {1e-3}, 0.1, true);

    EXPECT_NEAR(values.front(), -0.1, 1e-5);
}

TEST(AdamW, decays_only_what_shall_decay) {
    OptimizerOptions options;
    options.weight_decay = 0.5;

    EXPECT_EQ(run(options, 4, {0}, 0.5, true), std::vector<double>{3});
    EXPECT_EQ(run(options, 4, {0}, 0.5, false), std::vector<double>{4});
}

class OptimizerState : public testing::TestWithParam<OptimizerOptions> {};

TEST_P(OptimizerState, is_of_the_promised_types_and_zero) {
    HeldParameter parameter{at::ones({3, 2}), {}};

    make_optimizer(GetParam())->make_state(parameter);

    const auto expected = state_types(GetParam(), type_of(parameter.value));
    std::map<std::string, TensorType> actual;
    double num_bytes_per_element = 0;
    for (const auto& [name, tensor] : parameter.state) {
        actual[name] = type_of(tensor);
        EXPECT_EQ(tensor.count_nonzero().item<std::int64_t>(), 0) << name;
        if (tensor.numel() == parameter.value.numel()) {
            num_bytes_per_element +=
                static_cast<double>(size_bytes(actual[name].dtype));
        }
    }
    EXPECT_EQ(actual, expected);
    EXPECT_EQ(state_bytes_per_element(GetParam()), num_bytes_per_element);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds,
    OptimizerState,
    testing::Values(make_sgd(0, 0), make_sgd(0.9, 0.1), OptimizerOptions{}),
    [](const auto& info) {
        return info.param.kind + (info.param.momentum > 0 ? "_momentum" : "");
    });

TEST(Optimizer, proposes_a_name_for_one_that_is_not_known) {
    OptimizerOptions options;
    options.kind = "adanw";

    try {
        make_optimizer(options);
        FAIL() << "no InputError";
    } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find("adamw"), std::string::npos)
            << error.what();
    }
}

}  // namespace
}  // namespace fusionllm::test
