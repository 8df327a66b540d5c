// Buffers that training changes: the same on any stages, in the order of the
// micro-batches, and only when a step counts.

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/exec/threads.hpp"
#include "fusionllm/graph/buffer_updates.hpp"
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

TEST(Buffers, count_alike_in_the_evaluation_form_of_the_graph) {
    set_num_threads(1);
    const OpGraph graph = make_narrow_resnet();
    StageChain chain(graph, {}, micro_batches);
    chain.train(0, make_inputs(0));
    chain.commit_buffers();
    const auto give = [&](const std::string& name) {
        const at::Tensor buffer = chain.buffer(name);
        const auto& all = graph.signature().parameters;
        const auto found = std::ranges::find(all, name, &Parameter::name);
        return std::optional(to_host(
            buffer.defined()
                ? buffer
                : chain.parameters(0)
                      .get(static_cast<std::size_t>(found - all.begin()))
                      .value));
    };
    const OpGraph form = evaluation_form(graph);
    const StageSlice slice = make_slice(form, {0, form.ops().size()});
    ParameterStore parameters(form, slice.parameter_uses, {1, give}, cpu);
    BufferStore buffers(form, slice.buffers, {1, give}, cpu);
    Stage stage(form, slice, parameters, buffers, {});
    const auto inputs = make_inputs(5).front();

    stage.evaluate({}, {from_host(inputs[0], cpu), from_host(inputs[1], cpu)});

    EXPECT_EQ(stage.loss(), chain.evaluate({inputs}));
    EXPECT_TRUE(changed_buffers(form, OpId(1)).empty());
}

//! sum(norm(x) w), by an operator that importers use or by ours.
OpGraph make_norm(const std::string& target) {
    GraphBuilder builder("norm");
    const TensorType type{DType::f32, {4, 3, 2, 2}};
    const TensorType row{DType::f32, {3}};
    const ValueId x = builder.add_input("x", type);
    const ValueId w =
        builder.add_parameter("w", row, {Initializer::Kind::uniform, 1});
    const ValueId mean =
        builder.add_buffer("mean", row, {Initializer::Kind::zeros, 0});
    const ValueId variance =
        builder.add_buffer("variance", row, {Initializer::Kind::ones, 0});
    std::vector<Argument> arguments{
        x, w, NoArgument{}, mean, variance, true, 0.1, 1e-5};
    std::vector<TensorType> outputs{type};
    if (target == "aten::native_batch_norm") {
        outputs.insert(outputs.end(), {row, row});
    } else {
        arguments.emplace_back(true);
    }
    const ValueId y =
        builder.add_op_with_outputs("norm", target, arguments, outputs)[0];
    const ValueId square =
        builder.add_op("square", "aten::mul.Tensor", {y, y}, type);
    builder.set_loss(
        builder.add_op("loss", "aten::sum", {square}, {DType::f32, {}}));
    return builder.build();
}

TEST(Buffers, are_those_of_either_batch_norm) {
    std::vector<std::vector<HostTensor>> inputs;
    for (const double phase : {0.0, 1.0, 2.0}) {
        inputs.push_back({to_host(
            at::arange(48, at::kFloat).add(phase).sin().view({4, 3, 2, 2}))});
    }
    const OpGraph ours = make_norm("aten::batch_norm");
    const OpGraph imported = make_norm("aten::native_batch_norm");
    StageChain one(ours, {}, micro_batches);
    StageChain other(imported, {}, micro_batches);

    EXPECT_EQ(one.train(0, inputs).gradients, other.train(0, inputs).gradients);
    one.commit_buffers();
    other.commit_buffers();

    for (const char* name : {"mean", "variance"}) {
        EXPECT_TRUE(at::equal(one.buffer(name), other.buffer(name))) << name;
    }
    EXPECT_FALSE(at::equal(one.buffer("mean"), at::zeros({3})));
    EXPECT_EQ(one.evaluate(inputs), other.evaluate(inputs));
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
