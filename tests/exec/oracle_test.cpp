// Plain LibTorch autograd in one process, written by hand: it knows nothing of
// graphs, stages and messages, and agrees to rounding.

#include <cmath>
#include <map>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include "fusionllm/exec/optimizer.hpp"
#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/exec/threads.hpp"
#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/util/random.hpp"

#include "stage_chain.hpp"

namespace fusionllm::test {
namespace {

constexpr std::int64_t batch = 2;
constexpr double tolerance = 1e-6;

Gpt2Options make_options(double dropout, bool is_tied) {
    Gpt2Options options;
    options.layers = 3;
    options.width = 24;
    options.heads = 3;
    options.context = 10;
    options.vocabulary = 37;
    options.dropout = dropout;
    options.tie_embeddings = is_tied;
    return options;
}

//! Parameters by name, as leaves.
std::map<std::string, at::Tensor> make_leaves(const OpGraph& graph) {
    std::map<std::string, at::Tensor> leaves;
    for (const Parameter& parameter : graph.signature().parameters) {
        leaves[parameter.name] =
            from_host(initial_value(graph, parameter, chain_seed),
                      at::Device(at::kCPU))
                .requires_grad_(true);
    }
    return leaves;
}

//! GPT-2 in the words of its paper: x (B, T, C), heads (B, H, T, D).
class PlainGpt2 {
public:
    PlainGpt2(Gpt2Options options, std::map<std::string, at::Tensor> weights)
        : options_(options), weights_(std::move(weights)) {}

    at::Tensor loss(const at::Tensor& tokens,
                    const at::Tensor& labels,
                    MicrobatchKey key) {
        key_ = key;
        at::Tensor x = at::embedding(weights_.at("wte.weight"), tokens) +
                       weights_.at("wpe.weight");
        x = drop("drop", x);
        for (std::int64_t layer = 0; layer < options_.layers; ++layer) {
            const std::string name = "h." + std::to_string(layer);
            x = x + attention(name, norm(name + ".ln_1", x));
            x = x + mlp(name, norm(name + ".ln_2", x));
        }
        const at::Tensor& head = options_.tie_embeddings
                                     ? weights_.at("wte.weight")
                                     : weights_.at("lm_head.weight");
        const at::Tensor logits = at::matmul(norm("ln_f", x), head.t());
        return at::nll_loss(
            at::log_softmax(logits.view({-1, options_.vocabulary}), -1),
            labels.view({-1}));
    }

private:
    at::Tensor norm(const std::string& name, const at::Tensor& x) {
        const at::Tensor mean = x.mean({-1}, true);
        const at::Tensor variance = (x - mean).pow(2).mean({-1}, true);
        return (x - mean) / (variance + 1e-5).sqrt() *
                   weights_.at(name + ".weight") +
               weights_.at(name + ".bias");
    }
    at::Tensor dense(const std::string& name, const at::Tensor& x) {
        return at::matmul(x, weights_.at(name + ".weight")) +
               weights_.at(name + ".bias");
    }
    at::Tensor heads(const at::Tensor& x) {
        return x
            .view({batch,
                   options_.context,
                   options_.heads,
                   options_.width / options_.heads})
            .transpose(1, 2);
    }
    at::Tensor attention(const std::string& layer, const at::Tensor& x) {
        const std::string name = layer + ".attn";
        const auto parts = dense(name + ".c_attn", x).split(options_.width, -1);
        const double scale =
            std::sqrt(static_cast<double>(options_.width / options_.heads));
        const at::Tensor future =
            at::ones({options_.context, options_.context}, at::kBool).triu(1);
        const at::Tensor scores =
            at::matmul(heads(parts[0]), heads(parts[1]).transpose(-1, -2)) /
            scale;
        const at::Tensor weights = drop(
            name + ".drop", scores.masked_fill(future, -INFINITY).softmax(-1));
        const at::Tensor y = at::matmul(weights, heads(parts[2]))
                                 .transpose(1, 2)
                                 .reshape({batch, options_.context, -1});
        return drop(name + ".c_proj.drop", dense(name + ".c_proj", y));
    }
    at::Tensor mlp(const std::string& layer, const at::Tensor& x) {
        const std::string name = layer + ".mlp";
        const at::Tensor y = dense(name + ".c_fc", x);
        const at::Tensor gelu =
            0.5 * y *
            (1 + (std::sqrt(2 / M_PI) * (y + 0.044715 * y.pow(3))).tanh());
        return drop(name + ".c_proj.drop", dense(name + ".c_proj", gelu));
    }
    at::Tensor drop(const std::string& name, const at::Tensor& x) {
        if (options_.dropout == 0) {
            return x;
        }
        const at::Tensor mask = at::empty(x.sizes(), at::kFloat);
        const std::uint64_t key =
            derive_key(derive_key(derive_key(chain_seed, key_.step),
                                  static_cast<std::uint64_t>(key_.micro_batch)),
                       name + ".mask");
        fill_mask_by_loop(mask, key, options_.dropout);
        return x * mask;
    }

    Gpt2Options options_;
    std::map<std::string, at::Tensor> weights_;
    MicrobatchKey key_;
};

//! Random tokens and labels of one micro-batch.
std::vector<HostTensor> make_inputs(const Gpt2Options& options,
                                    std::uint64_t seed) {
    std::vector<HostTensor> inputs;
    for (std::uint64_t field = 0; field < 2; ++field) {
        at::Tensor ids = at::empty({batch, options.context}, at::kLong);
        for (std::int64_t i = 0; i < ids.numel(); ++i) {
            ids.data_ptr<std::int64_t>()[i] = static_cast<std::int64_t>(
                derive_key(derive_key(seed, field),
                           static_cast<std::uint64_t>(i)) %
                static_cast<std::uint64_t>(options.vocabulary));
        }
        inputs.push_back(to_host(ids));
    }
    return inputs;
}

at::Tensor on_cpu(const HostTensor& tensor) {
    return from_host(tensor, at::Device(at::kCPU));
}

double relative_difference(const at::Tensor& actual,
                           const at::Tensor& expected) {
    return (actual - expected).norm().item<double>() /
           expected.norm().item<double>();
}

struct Way {
    std::string name;
    double dropout;
    bool is_tied;
    int num_stages;
};

class Oracle : public testing::TestWithParam<Way> {};

TEST_P(Oracle, agrees_with_the_stages_on_loss_and_gradients) {
    set_num_threads(1);
    const Gpt2Options options =
        make_options(GetParam().dropout, GetParam().is_tied);
    const OpGraph graph = make_gpt2(options, batch);
    const std::vector<std::vector<HostTensor>> inputs{make_inputs(options, 1),
                                                      make_inputs(options, 2)};
    const auto leaves = make_leaves(graph);
    PlainGpt2 plain(options, leaves);
    at::Tensor sum = at::zeros({});
    for (std::uint32_t m = 0; m < 2; ++m) {
        sum = sum +
              plain.loss(on_cpu(inputs[m][0]), on_cpu(inputs[m][1]), {5, m});
    }
    std::vector<at::Tensor> ordered;
    for (const Parameter& parameter : graph.signature().parameters) {
        ordered.push_back(leaves.at(parameter.name));
    }
    const auto expected = torch::autograd::grad({sum / 2}, ordered);
    std::vector<std::size_t> cuts;
    for (int stage = 1; stage < GetParam().num_stages; ++stage) {
        cuts.push_back(graph.ops().size() * stage / GetParam().num_stages);
    }

    const ChainResult actual = StageChain(graph, cuts, 2).train(5, inputs);

    const double loss = sum.item<double>();
    EXPECT_NEAR(actual.loss, loss, tolerance * loss);
    for (std::size_t p = 0; p < ordered.size(); ++p) {
        EXPECT_LT(relative_difference(on_cpu(actual.gradients[p]), expected[p]),
                  tolerance)
            << graph.signature().parameters[p].name;
    }
}

INSTANTIATE_TEST_SUITE_P(Ways,
                         Oracle,
                         testing::Values(Way{"one_stage", 0, true, 1},
                                         Way{"three_stages", 0, true, 3},
                                         Way{"untied", 0, false, 3},
                                         Way{"dropout", 0.1, true, 1},
                                         Way{"dropout_in_three", 0.1, true, 3}),
                         [](const auto& info) { return info.param.name; });

//! Five updates of one parameter, ours and LibTorch's, with changing rates.
template <class TorchOptimizer, class Options>
double difference_after_updates(const OptimizerOptions& options,
                                const Options& torch_options) {
    const at::Tensor start = at::linspace(-1, 1, 35).view({5, 7});
    HeldParameter ours{start.clone(), {}};
    at::Tensor theirs = start.clone().requires_grad_(true);
    TorchOptimizer torch_optimizer(std::vector<at::Tensor>{theirs},
                                   torch_options);
    const auto optimizer = make_optimizer(options);
    optimizer->make_state(ours);
    for (int step = 1; step <= 5; ++step) {
        UpdateInput input;
        input.gradient = (start * step).sin();
        input.learning_rate = 1e-2 / step;
        static_cast<Options&>(torch_optimizer.param_groups()[0].options())
            .lr(input.learning_rate);
        theirs.mutable_grad() = input.gradient.clone();
        torch_optimizer.step();
        optimizer->update(ours, input);
    }
    return relative_difference(ours.value, theirs.detach());
}

TEST(Oracle, adamw_agrees_with_torch) {
    OptimizerOptions options;
    options.weight_decay = 0.1;
    options.beta1 = 0.8;
    options.beta2 = 0.99;

    const double difference = difference_after_updates<torch::optim::AdamW>(
        options,
        torch::optim::AdamWOptions(1e-2).weight_decay(0.1).betas({0.8, 0.99}));

    EXPECT_LT(difference, tolerance);
}

TEST(Oracle, sgd_with_momentum_agrees_with_torch) {
    OptimizerOptions options;
    options.kind = "sgd";
    options.weight_decay = 0.1;
    options.momentum = 0.9;

    const double difference = difference_after_updates<torch::optim::SGD>(
        options,
        torch::optim::SGDOptions(1e-2).weight_decay(0.1).momentum(0.9));

    EXPECT_LT(difference, tolerance);
}

}  // namespace
}  // namespace fusionllm::test
