#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "fusionllm/exec/op_runner.hpp"
#include "fusionllm/graph/resnet.hpp"

namespace fusionllm::test {
namespace {

//! Runs all ops of a graph by LibTorch, on any numbers.
class GraphRun {
public:
    explicit GraphRun(const OpGraph& graph)
        : graph_(graph), tensors_(graph.values().size()) {
        torch::manual_seed(1);
        for (std::uint32_t v = 0; v < tensors_.size(); ++v) {
            if (!graph.producer(ValueId(v))) {
                tensors_[v] = make(ValueId(v));
            }
        }
        for (std::uint32_t i = 0; i < graph.ops().size(); ++i) {
            const OpRunner runner(graph, OpId(i), at::kCPU);
            const auto outputs = runner.run(
                [&](ValueId id) -> const at::Tensor& {
                    return tensors_[id.get()];
                },
                {});
            for (std::size_t o = 0; o < outputs.size(); ++o) {
                tensors_[runner.op().outputs[o].get()] = outputs[o];
            }
        }
    }

    const at::Tensor& operator[](ValueId id) const {
        return tensors_[id.get()];
    }

private:
    at::Tensor make(ValueId id) const {
        const TensorType& type = graph_.value(id).type;
        if (type.dtype == DType::i64) {
            return torch::zeros(type.sizes, torch::kInt64);
        }
        if (const auto buffer = graph_.buffer_index(id)) {
            const auto& initializer =
                graph_.signature().buffers[*buffer].initializer;
            return initializer.kind == Initializer::Kind::ones
                       ? torch::ones(type.sizes)
                       : torch::zeros(type.sizes);
        }
        return torch::randn(type.sizes)
            .set_requires_grad(graph_.parameter_index(id).has_value());
    }

    const OpGraph& graph_;
    std::vector<at::Tensor> tensors_;  // by value
};

class ResnetShapesTest : public testing::TestWithParam<ResnetOptions> {};

TEST_P(ResnetShapesTest, are_those_that_libtorch_makes) {
    const OpGraph graph = make_resnet(GetParam(), 2);

    const GraphRun run(graph);

    for (std::uint32_t v = 0; v < graph.values().size(); ++v) {
        EXPECT_EQ(run[ValueId(v)].sizes().vec(),
                  graph.value(ValueId(v)).type.sizes)
            << graph.value(ValueId(v)).name;
    }
}

TEST_P(ResnetShapesTest, pass_a_gradient_to_every_parameter) {
    const OpGraph graph = make_resnet(GetParam(), 2);
    const GraphRun run(graph);

    run[graph.signature().loss.value()].backward();

    for (const Parameter& parameter : graph.signature().parameters) {
        EXPECT_TRUE(run[parameter.value].grad().defined()) << parameter.name;
    }
}

TEST_P(ResnetShapesTest, training_changes_running_statistics_in_place) {
    const OpGraph graph = make_resnet(GetParam(), 2);

    const GraphRun run(graph);

    for (const ModelBuffer& buffer : graph.signature().buffers) {
        const bool is_mean = buffer.name.ends_with("running_mean");
        const at::Tensor start = is_mean ? torch::zeros_like(run[buffer.value])
                                         : torch::ones_like(run[buffer.value]);
        EXPECT_FALSE(torch::equal(run[buffer.value], start)) << buffer.name;
    }
}

INSTANTIATE_TEST_SUITE_P(
    Options,
    ResnetShapesTest,
    testing::Values(ResnetOptions{.depth = 18,
                                  .classes = 10,
                                  .image = 32,
                                  .stem = ResnetStem::cifar},
                    ResnetOptions{.depth = 50, .classes = 7, .image = 65}));

}  // namespace
}  // namespace fusionllm::test
