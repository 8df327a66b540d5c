// Law 6: an imported model computes what PyTorch computed for it, as
// make_archives.py wrote it down.

#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/autograd.h>

#include "fusionllm/exec/op_runner.hpp"
#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/importers/import.hpp"

namespace fusionllm::test {
namespace {

using nlohmann::json;

json read_expectation(const std::string& name) {
    std::ifstream stream(FUSIONLLM_ARCHIVES "/" + name + ".json");
    return json::parse(stream);
}

at::Tensor make_tensor(const json& description) {
    const auto values = description.at("values").get<std::vector<double>>();
    const auto sizes = description.at("sizes").get<std::vector<std::int64_t>>();
    const std::string dtype = description.at("dtype").get<std::string>();
    const at::ScalarType type = dtype == "float32" ? at::kFloat
                                : dtype == "bool"  ? at::kBool
                                                   : at::kLong;
    at::Tensor tensor = at::empty(sizes, at::kDouble);
    std::copy(values.begin(), values.end(), tensor.data_ptr<double>());
    return tensor.to(type);
}

//! One forward and backward pass of all ops in their order.
class Step {
public:
    Step(const ImportedModel& model, const json& inputs)
        : graph_(model.graph), values_(graph_.values().size()) {
        const GraphSignature& signature = graph_.signature();
        for (const Parameter& parameter : signature.parameters) {
            const at::Tensor value = load(model, parameter.name);
            values_[parameter.value.get()] =
                (value.is_complex() ? at::view_as_real(value) : value)
                    .requires_grad_(true);
            leaves_.push_back(values_[parameter.value.get()]);
        }
        for (const ModelBuffer& buffer : signature.buffers) {
            values_[buffer.value.get()] = load(model, buffer.name);
        }
        for (std::size_t i = 0; i < signature.inputs.size(); ++i) {
            values_[signature.inputs[i].get()] = make_tensor(inputs.at(i));
        }
        run();
    }

    double loss() const {
        return values_[graph_.signature().loss->get()].item<double>();
    }
    const at::Tensor& value(ValueId id) const { return values_[id.get()]; }
    //! By name; without those that the loss does not depend on.
    std::map<std::string, double> gradient_norms() const {
        const auto gradients =
            torch::autograd::grad({values_[graph_.signature().loss->get()]},
                                  leaves_,
                                  {},
                                  c10::nullopt,
                                  false,
                                  true);
        std::map<std::string, double> norms;
        for (std::size_t p = 0; p < leaves_.size(); ++p) {
            if (gradients[p].defined()) {
                norms[graph_.signature().parameters[p].name] =
                    gradients[p].norm().item<double>();
            }
        }
        return norms;
    }

private:
    static at::Tensor load(const ImportedModel& model,
                           const std::string& name) {
        return from_host(model.weights.load(name), at::Device(at::kCPU));
    }

    void run() {
        OpContext context;
        for (std::uint32_t i = 0; i < graph_.ops().size(); ++i) {
            const OpRunner runner(graph_, OpId(i), at::Device(at::kCPU));
            const auto outputs = runner.run(
                [&](ValueId id) -> const at::Tensor& {
                    return values_[id.get()];
                },
                context);
            for (std::size_t k = 0; k < outputs.size(); ++k) {
                const ValueId id = runner.op().outputs[k];
                EXPECT_EQ(type_of(outputs[k]), graph_.value(id).type)
                    << runner.op().name;
                values_[id.get()] = outputs[k];
            }
        }
    }

    const OpGraph& graph_;
    std::vector<at::Tensor> values_;
    torch::autograd::variable_list leaves_;
};

ImportedModel import(const std::filesystem::path& file) {
    return file.extension() == ".pt" ? import_torchscript(file, {})
                                     : import_pt2(file);
}

//! "mlp" of "mlp.pt2", "mlp_script" of "mlp.pt".
std::string expectation_of(const std::filesystem::path& name) {
    return name.stem().string() + (name.extension() == ".pt" ? "_script" : "");
}

class Imported : public testing::TestWithParam<const char*> {
protected:
    Imported()
        : expected_(read_expectation(expectation_of(GetParam()))),
          model_(import(std::string(FUSIONLLM_ARCHIVES "/") + GetParam())) {}

    json expected_;
    ImportedModel model_;
};

TEST_P(Imported, model_has_the_loss_and_the_gradients_of_pytorch) {
    const Step step(model_, expected_.at("inputs"));

    const auto loss = expected_.at("loss").get<double>();
    EXPECT_NEAR(step.loss(), loss, 1e-5 * std::abs(loss));
    const auto norms = step.gradient_norms();
    const auto expected =
        expected_.at("gradient_norms").get<std::map<std::string, double>>();
    double largest = 0;
    for (const auto& [name, norm] : expected) {
        largest = std::max(largest, norm);
    }
    ASSERT_EQ(norms.size(), expected.size());
    for (const auto& [name, norm] : expected) {
        ASSERT_TRUE(norms.contains(name)) << name;
        EXPECT_NEAR(norms.at(name), norm, 1e-5 * std::max(norm, 1e-3 * largest))
            << name;
    }
}

TEST_P(Imported, model_has_the_buffers_of_pytorch_after_the_step) {
    const Step step(model_, expected_.at("inputs"));

    std::size_t compared = 0;
    for (const auto& [name, description] : expected_.at("buffers").items()) {
        if (name.ends_with("num_batches_tracked")) {
            continue;
        }
        const at::Tensor expected = make_tensor(description);
        for (const ModelBuffer& buffer : model_.graph.signature().buffers) {
            if (buffer.name == name) {
                const at::Tensor& value = step.value(buffer.value);
                EXPECT_TRUE(at::allclose(
                    (value.is_complex() ? at::view_as_real(value) : value)
                        .to(at::kDouble),
                    expected.to(at::kDouble),
                    1e-5,
                    1e-6))
                    << name;
                ++compared;
            }
        }
    }
    std::size_t counters = 0;
    for (const auto& [name, description] : expected_.at("buffers").items()) {
        counters += name.ends_with("num_batches_tracked") ? 1 : 0;
    }
    EXPECT_EQ(compared + counters, expected_.at("buffers").size());
}

INSTANTIATE_TEST_SUITE_P(Archives,
                         Imported,
                         testing::Values("gpt.pt2",
                                         "mlp.pt2",
                                         "conv_net.pt2",
                                         "recurrent.pt2",
                                         "two_inputs.pt2",
                                         "activations.pt2",
                                         "llama.pt2",
                                         "statistics.pt2",
                                         "spectral.pt2",
                                         "mlp_layout2.pt2",
                                         "conv_net_layout2.pt2",
                                         "recurrent_layout2.pt2",
                                         "activations_layout2.pt2",
                                         "mlp.pt",
                                         "conv_net.pt",
                                         "recurrent.pt",
                                         "two_inputs.pt",
                                         "activations.pt",
                                         "statistics.pt",
                                         "spectral.pt",
                                         "encoder.pt",
                                         "dense.pt"));

}  // namespace
}  // namespace fusionllm::test
