// Buffers that training changes: the same on any stages, in the order of the
// micro-batches, and only when a step counts.

#include <algorithm>
#include <random>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/exec/threads.hpp"
#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/graph/resnet.hpp"

#include "stage_chain.hpp"

namespace fusionllm::test {
namespace {

constexpr int micro_batches = 3;
const at::Device cpu(at::kCPU);

OpGraph make_narrow_resnet() {
    ResnetOptions options;
    options.depth = 18;
    options.classes = 5;
    options.image = 8;
    options.stem = ResnetStem::cifar;
    options.channels = 3;
    return make_resnet(options, 4);
}

std::vector<std::vector<HostTensor>> make_inputs(std::uint64_t step) {
    std::vector<std::vector<HostTensor>> inputs;
    for (int m = 0; m < micro_batches; ++m) {
        const double phase = 10.0 * static_cast<double>(step) + m;
        const at::Tensor image =
            at::arange(4 * 3 * 8 * 8, at::kFloat).add(phase).mul(1.7).sin();
        const at::Tensor labels =
            at::arange(4, at::kLong).add(static_cast<std::int64_t>(step + m));
        inputs.push_back(
            {to_host(image.view({4, 3, 8, 8})), to_host(labels.remainder(5))});
    }
    return inputs;
}

//! Everything that three steps of gradient descent leave.
struct Outcome {
    std::vector<ChainResult> steps;
    double validation_loss = 0;
    std::vector<HostTensor> buffers;
};

Outcome train(const OpGraph& graph,
              const std::vector<std::size_t>& cuts,
              Recompute recompute) {
    StageChain chain(graph, cuts, micro_batches, recompute);
    Outcome outcome;
    for (std::uint64_t step = 0; step < 3; ++step) {
        outcome.steps.push_back(chain.train(step, make_inputs(step)));
        chain.commit_buffers();
        chain.descend(outcome.steps.back(), 0.1);
    }
    outcome.validation_loss = chain.evaluate(make_inputs(9));
    for (const ModelBuffer& buffer : graph.signature().buffers) {
        outcome.buffers.push_back(to_host(chain.buffer(buffer.name)));
    }
    return outcome;
}

void expect_bitwise_equal(const Outcome& actual, const Outcome& expected) {
    for (std::size_t step = 0; step < expected.steps.size(); ++step) {
        EXPECT_EQ(actual.steps[step].loss, expected.steps[step].loss);
        EXPECT_EQ(actual.steps[step].gradients, expected.steps[step].gradients);
    }
    EXPECT_EQ(actual.validation_loss, expected.validation_loss);
    EXPECT_EQ(actual.buffers, expected.buffers);
}

TEST(Buffers, do_not_depend_on_where_the_stages_end) {
    set_num_threads(1);
    const OpGraph graph = make_narrow_resnet();
    const Outcome expected = train(graph, {}, Recompute::off);
    std::mt19937 random(1);
    for (const std::size_t num_cuts : {1, 2, 4}) {
        std::vector<std::size_t> cuts;
        for (std::size_t i = 0; i < num_cuts; ++i) {
            cuts.push_back(1 + random() % (graph.ops().size() - 1));
        }
        std::ranges::sort(cuts);
        cuts.erase(std::ranges::unique(cuts).begin(), cuts.end());
        for (const Recompute recompute : {Recompute::off, Recompute::on}) {
            SCOPED_TRACE(testing::PrintToString(cuts));
            expect_bitwise_equal(train(graph, cuts, recompute), expected);
        }
    }
    expect_bitwise_equal(train(graph, {}, Recompute::on), expected);
}

TEST(Buffers, stay_as_they_were_when_a_step_is_skipped) {
    set_num_threads(1);
    const OpGraph graph = make_narrow_resnet();
    StageChain chain(graph, {20}, micro_batches);
    StageChain other(graph, {20}, micro_batches);

    chain.train(0, make_inputs(0));
    EXPECT_TRUE(at::equal(chain.buffer("bn1.running_mean"), at::zeros({3})));
    chain.drop_buffers();
    chain.train(1, make_inputs(1));
    chain.commit_buffers();
    other.train(1, make_inputs(1));
    other.commit_buffers();

    EXPECT_FALSE(at::equal(chain.buffer("bn1.running_mean"), at::zeros({3})));
    for (const ModelBuffer& buffer : graph.signature().buffers) {
        EXPECT_TRUE(
            at::equal(chain.buffer(buffer.name), other.buffer(buffer.name)))
            << buffer.name;
    }
}

TEST(Buffers, are_not_changed_by_evaluation) {
    set_num_threads(1);
    const OpGraph graph = make_narrow_resnet();
    StageChain chain(graph, {20}, micro_batches);
    const double first = chain.evaluate(make_inputs(0));

    const double second = chain.evaluate(make_inputs(0));
    chain.commit_buffers();

    EXPECT_EQ(first, second);
    EXPECT_TRUE(at::equal(chain.buffer("bn1.running_mean"), at::zeros({3})));
}

//! sum((x w counter)^2), after `count` has added 1 to the counter in place.
OpGraph make_counting() {
    GraphBuilder builder("counting");
    const TensorType type{DType::f32, {3}};
    const ValueId x = builder.add_input("x", type);
    const ValueId w =
        builder.add_parameter("w", type, {Initializer::Kind::uniform, 1});
    const ValueId counter = builder.add_buffer(
        "counter", {DType::i64, {}}, {Initializer::Kind::zeros, 0});
    const ValueId counted = builder.add_op("count",
                                           "aten::add_.Scalar",
                                           {counter, std::int64_t{1}},
                                           {DType::i64, {}});
    const ValueId product =
        builder.add_op("product", "aten::mul.Tensor", {x, w}, type);
    const ValueId scaled =
        builder.add_op("scale", "aten::mul.Tensor", {product, counted}, type);
    const ValueId square =
        builder.add_op("square", "aten::mul.Tensor", {scaled, scaled}, type);
    const ValueId loss =
        builder.add_op("loss", "aten::sum", {square}, {DType::f32, {}});
    builder.set_loss(loss);
    return builder.build();
}

TEST(Buffers, may_be_integers_that_an_op_counts_up) {
    const OpGraph graph = make_counting();
    const std::vector<std::vector<HostTensor>> inputs(micro_batches,
                                                      {to_host(at::ones({3}))});
    for (const Recompute recompute : {Recompute::off, Recompute::on}) {
        StageChain chain(graph, {}, micro_batches, recompute);
        const at::Tensor w = chain.parameters(0).get(0).value;
        const at::Tensor square = w.mul(w).sum();

        const ChainResult result = chain.train(0, inputs);
        chain.commit_buffers();

        // Micro-batches 0, 1, 2 count 1, 2, 3.
        EXPECT_NEAR(result.loss, (1 + 4 + 9) * square.item<double>(), 1e-5);
        EXPECT_TRUE(at::allclose(from_host(result.gradients[0], cpu),
                                 w.mul(2.0 * (1 + 4 + 9) / micro_batches)));
        EXPECT_EQ(chain.buffer("counter").item<std::int64_t>(), 3);
        EXPECT_NEAR(
            chain.evaluate({inputs.front()}), 16 * square.item<double>(), 1e-5);
        EXPECT_EQ(chain.buffer("counter").item<std::int64_t>(), 3);
    }
}

}  // namespace
}  // namespace fusionllm::test
