// A ResNet in plain LibTorch, its batch norms by their formulas: it knows
// nothing of graphs, stages and stores, and agrees to rounding after three
// steps of several micro-batches, running statistics included.

#include <map>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/exec/threads.hpp"
#include "fusionllm/graph/resnet.hpp"

#include "stage_chain.hpp"

namespace fusionllm::test {
namespace {

constexpr int micro_batches = 3;
constexpr double rate = 0.05;
constexpr double tolerance = 1e-5;

using Tensors = std::map<std::string, at::Tensor>;

ResnetOptions make_options() {
    ResnetOptions options;
    options.depth = 18;
    options.classes = 5;
    options.image = 16;
    options.stem = ResnetStem::cifar;
    options.channels = 4;
    return options;
}

//! x (N, C, H, W)
class PlainResnet {
public:
    PlainResnet(Tensors weights, Tensors statistics)
        : weights_(std::move(weights)), statistics_(std::move(statistics)) {}

    Tensors& weights() { return weights_; }
    const Tensors& statistics() const { return statistics_; }

    at::Tensor loss(at::Tensor x, const at::Tensor& labels, bool trains) {
        trains_ = trains;
        x = norm("bn1", convolve("conv1", x, 1)).relu();
        for (int layer = 1; layer <= 4; ++layer) {
            for (int i = 0; i < 2; ++i) {
                x = block(
                    "layer" + std::to_string(layer) + "." + std::to_string(i),
                    x,
                    layer > 1 && i == 0 ? 2 : 1);
            }
        }
        const at::Tensor logits =
            at::matmul(x.mean({2, 3}), weights_.at("fc.weight").t()) +
            weights_.at("fc.bias");
        return -logits.log_softmax(1).gather(1, labels.unsqueeze(1)).mean();
    }

private:
    at::Tensor block(const std::string& name,
                     const at::Tensor& x,
                     std::int64_t stride) {
        at::Tensor y =
            norm(name + ".bn1", convolve(name + ".conv1", x, stride)).relu();
        y = norm(name + ".bn2", convolve(name + ".conv2", y, 1));
        const std::string past = name + ".downsample.0";
        return (y +
                (weights_.contains(past + ".weight")
                     ? norm(name + ".downsample.1", convolve(past, x, stride))
                     : x))
            .relu();
    }
    at::Tensor convolve(const std::string& name,
                        const at::Tensor& x,
                        std::int64_t stride) {
        const at::Tensor& w = weights_.at(name + ".weight");
        return at::conv2d(x, w, {}, stride, w.size(2) / 2);
    }
    at::Tensor norm(const std::string& name, const at::Tensor& x) {
        at::Tensor& running_mean = statistics_.at(name + ".running_mean");
        at::Tensor& running_var = statistics_.at(name + ".running_var");
        const auto shape = [](const at::Tensor& c) {
            return c.view({1, -1, 1, 1});
        };
        at::Tensor mean = running_mean;
        at::Tensor variance = running_var;
        if (trains_) {
            mean = x.mean({0, 2, 3});
            variance = (x - shape(mean)).pow(2).mean({0, 2, 3});
            const double n = static_cast<double>(x.numel() / x.size(1));
            running_mean = 0.9 * running_mean + 0.1 * mean.detach();
            running_var =
                0.9 * running_var + 0.1 * variance.detach() * (n / (n - 1));
        }
        return (x - shape(mean)) / (shape(variance) + 1e-5).sqrt() *
                   shape(weights_.at(name + ".weight")) +
               shape(weights_.at(name + ".bias"));
    }

    Tensors weights_;
    Tensors statistics_;
    bool trains_ = true;
};

PlainResnet make_plain(const OpGraph& graph) {
    Tensors weights;
    for (const Parameter& parameter : graph.signature().parameters) {
        weights[parameter.name] =
            from_host(initial_value(graph, parameter, chain_seed),
                      at::Device(at::kCPU))
                .requires_grad_(true);
    }
    Tensors statistics;
    for (const ModelBuffer& buffer : graph.signature().buffers) {
        const auto& sizes = graph.value(buffer.value).type.sizes;
        statistics[buffer.name] = buffer.name.ends_with("running_var")
                                      ? at::ones(sizes)
                                      : at::zeros(sizes);
    }
    return {weights, statistics};
}

at::Tensor image_of(std::uint64_t step, int micro_batch) {
    const double phase = 10.0 * static_cast<double>(step) + micro_batch;
    return at::arange(6 * 3 * 16 * 16, at::kFloat)
        .add(phase)
        .mul(1.7)
        .sin()
        .add(0.5)
        .view({6, 3, 16, 16});
}

at::Tensor labels_of(std::uint64_t step, int micro_batch) {
    return at::arange(6, at::kLong)
        .add(static_cast<std::int64_t>(step) + micro_batch)
        .remainder(5);
}

std::vector<std::vector<HostTensor>> inputs_of(std::uint64_t step) {
    std::vector<std::vector<HostTensor>> inputs;
    for (int m = 0; m < micro_batches; ++m) {
        inputs.push_back(
            {to_host(image_of(step, m)), to_host(labels_of(step, m))});
    }
    return inputs;
}

//! One step of gradient descent; the sum of the losses.
double descend(PlainResnet& plain, std::uint64_t step) {
    at::Tensor sum = at::zeros({});
    for (int m = 0; m < micro_batches; ++m) {
        sum = sum + plain.loss(image_of(step, m), labels_of(step, m), true);
    }
    std::vector<at::Tensor> leaves;
    for (const auto& [name, tensor] : plain.weights()) {
        leaves.push_back(tensor);
    }
    const auto gradients = torch::autograd::grad({sum / micro_batches}, leaves);
    std::size_t i = 0;
    for (auto& [name, tensor] : plain.weights()) {
        tensor = (tensor.detach() - rate * gradients[i++]).requires_grad_(true);
    }
    return sum.item<double>();
}

TEST(ResnetOracle, agrees_with_the_stages_over_three_steps) {
    set_num_threads(1);
    const OpGraph graph = make_resnet(make_options(), 6);
    PlainResnet plain = make_plain(graph);
    const std::size_t third = graph.ops().size() / 3;
    StageChain chain(graph, {third, 2 * third}, micro_batches);

    for (std::uint64_t step = 0; step < 3; ++step) {
        const double expected = descend(plain, step);
        const ChainResult actual = chain.train(step, inputs_of(step));
        chain.commit_buffers();
        chain.descend(actual, rate);
        EXPECT_NEAR(actual.loss, expected, tolerance * expected)
            << "step " << step;
    }

    for (const auto& [name, expected] : plain.statistics()) {
        const at::Tensor difference = chain.buffer(name) - expected;
        EXPECT_LT(difference.norm().item<double>(),
                  tolerance * expected.norm().item<double>())
            << name;
    }
    const double expected =
        plain.loss(image_of(9, 0), labels_of(9, 0), false).item<double>();
    EXPECT_NEAR(
        chain.evaluate({inputs_of(9).front()}), expected, tolerance * expected);
}

}  // namespace
}  // namespace fusionllm::test
