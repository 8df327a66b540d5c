// Law 6: an imported model trains as PyTorch trained it, as make_models.py
// wrote it down, on any number of ranks with the same bits.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "fusionllm/importers/import.hpp"
#include "fusionllm/importers/loss.hpp"

#include "training.hpp"

namespace fusionllm::test {
namespace {

using nlohmann::json;
using Norms = std::map<std::string, double>;

constexpr int micro_batches = 2;

template <class To>
void append(std::vector<std::byte>& bytes, double number) {
    const auto value = static_cast<To>(number);
    const auto part = std::as_bytes(std::span(&value, 1));
    bytes.insert(bytes.end(), part.begin(), part.end());
}

//! The samples of one step; every step gets the same.
class StoredSamples final : public Dataset {
public:
    explicit StoredSamples(const json& inputs) {
        for (const json& input : inputs) {
            auto sizes = input.at("sizes").get<std::vector<std::int64_t>>();
            const auto count = static_cast<std::size_t>(sizes.front());
            sizes.erase(sizes.begin());
            const bool is_float = input.at("dtype") == "float32";
            const TensorType type{is_float ? DType::f32 : DType::i64, sizes};
            const auto values = input.at("values").get<std::vector<double>>();
            samples_.resize(count);
            for (std::size_t i = 0; i < values.size(); ++i) {
                auto& sample = samples_[i / (values.size() / count)];
                if (i % (values.size() / count) == 0) {
                    sample.push_back({type, {}});
                }
                if (is_float) {
                    append<float>(sample.back().bytes, values[i]);
                } else {
                    append<std::int64_t>(sample.back().bytes, values[i]);
                }
            }
        }
    }
    std::size_t size() const override { return samples_.size(); }
    std::vector<HostTensor> get(std::size_t index) const override {
        return samples_.at(index);
    }
    std::uint64_t content_hash() const override { return 1; }

private:
    std::vector<std::vector<HostTensor>> samples_;
};

class Model {
public:
    explicit Model(const std::string& name)
        : imported_(import_pt2(FUSIONLLM_MODELS "/" + name + ".pt2")) {
        std::ifstream stream(FUSIONLLM_MODELS "/" + name + ".json");
        expected_ = json::parse(stream);
        samples_ = std::make_shared<StoredSamples>(expected_.at("inputs"));
    }

    const json& expected() const { return expected_; }
    TrainingResult train(int ranks, std::int64_t steps) const {
        TrainingCase training;
        training.make_graph = [this](std::int64_t) {
            return expected_.at("loss") == "graph"
                       ? imported_.graph
                       : with_loss(imported_.graph, LossKind::cross_entropy);
        };
        training.initial = [this](const std::string& name) {
            return std::optional(imported_.weights.load(name));
        };
        training.load_data = [this] { return DatasetSplit{samples_, nullptr}; };
        training.is_shuffled = false;
        training.ranks = ranks;
        training.micro_batches = micro_batches;
        training.options.steps = steps;
        training.options.batch = static_cast<std::int64_t>(samples_->size());
        training.options.optimizer.kind = "sgd";
        training.options.learning_rate.peak = learning_rate();
        return fusionllm::test::train(training);
    }
    double learning_rate() const {
        return expected_.at("learning_rate").get<double>();
    }
    /*!
     * What one step took off each parameter, in units of the learning rate.
     *
     * \param resolutions by name: what rounding the parameters adds at most
     */
    Norms first_gradients(Norms& resolutions) const {
        const TrainingResult result = train(1, 1);
        Norms norms;
        for (const Parameter& parameter :
             imported_.graph.signature().parameters) {
            const auto before = floats(imported_.weights.load(parameter.name));
            const auto after = floats(
                result.tensors.at(parameter_tensor_name(parameter.name)));
            double squares = 0;
            double rounded = 0;
            for (std::size_t i = 0; i < before.size(); ++i) {
                squares += std::pow(before[i] - after[i], 2);
                rounded += std::pow(0x1p-24 * before[i], 2);
            }
            norms[parameter.name] = std::sqrt(squares) / learning_rate();
            resolutions[parameter.name] = std::sqrt(rounded) / learning_rate();
        }
        return norms;
    }
    static std::vector<double> floats(const HostTensor& tensor) {
        if (tensor.type.dtype == DType::i64) {
            std::vector<std::int64_t> numbers(
                static_cast<std::size_t>(num_elements(tensor.type)));
            std::memcpy(
                numbers.data(), tensor.bytes.data(), tensor.bytes.size());
            return {numbers.begin(), numbers.end()};
        }
        std::vector<float> numbers(
            static_cast<std::size_t>(num_elements(tensor.type)));
        std::memcpy(numbers.data(), tensor.bytes.data(), tensor.bytes.size());
        return {numbers.begin(), numbers.end()};
    }

private:
    ImportedModel imported_;
    json expected_;
    std::shared_ptr<const Dataset> samples_;
};

class ImportedModels : public testing::TestWithParam<const char*> {};

TEST_P(ImportedModels, have_pytorchs_losses_and_gradient_norms) {
    const Model model(GetParam());
    const auto losses =
        model.expected().at("losses").get<std::vector<double>>();
    const auto grad_norms =
        model.expected().at("grad_norms").get<std::vector<double>>();

    const TrainingResult result =
        model.train(1, static_cast<std::int64_t>(losses.size()));

    ASSERT_EQ(result.metrics.size(), losses.size());
    for (std::size_t i = 0; i < losses.size(); ++i) {
        SCOPED_TRACE(i);
        const double tolerance = i == 0 ? 1e-5 : 1e-4;
        EXPECT_NEAR(result.metrics[i].loss, losses[i], tolerance * losses[i]);
        EXPECT_NEAR(result.metrics[i].grad_norm,
                    grad_norms[i],
                    10 * tolerance * grad_norms[i]);
    }
}

TEST_P(ImportedModels, have_pytorchs_gradients_in_the_first_step) {
    const Model model(GetParam());
    const auto expected = model.expected().at("gradients").get<Norms>();
    double largest = 0;
    for (const auto& [name, norm] : expected) {
        largest = std::max(largest, norm);
    }

    Norms resolutions;
    const Norms norms = model.first_gradients(resolutions);

    ASSERT_EQ(norms.size(), expected.size());
    for (const auto& [name, norm] : expected) {
        EXPECT_NEAR(
            norms.at(name),
            norm,
            1e-5 * std::max(norm, 1e-2 * largest) + resolutions.at(name))
            << name;
    }
}

TEST_P(ImportedModels, end_with_pytorchs_parameters_and_buffers) {
    const Model model(GetParam());

    const TrainingResult result = model.train(2, 5);

    std::size_t compared = 0;
    for (const char* kind : {"parameters", "buffers"}) {
        for (const auto& [name, norm] :
             model.expected().at(kind).get<Norms>()) {
            const auto found =
                result.tensors.find(kind + std::string("/") + name);
            if (found == result.tensors.end()) {
                continue;  // a mask that no step changes
            }
            double squares = 0;
            for (const double number : Model::floats(found->second)) {
                squares += number * number;
            }
            EXPECT_NEAR(std::sqrt(squares), norm, 1e-4 * norm + 1e-6) << name;
            ++compared;
        }
    }
    EXPECT_GE(compared, model.expected().at("parameters").size());
}

TEST_P(ImportedModels, have_the_same_bits_on_any_number_of_ranks) {
    const Model model(GetParam());
    const TrainingResult expected = model.train(1, 3);
    for (const int ranks : {2, 5}) {
        SCOPED_TRACE(ranks);

        const TrainingResult actual = model.train(ranks, 3);

        for (std::size_t i = 0; i < expected.metrics.size(); ++i) {
            EXPECT_EQ(std::bit_cast<std::uint64_t>(actual.metrics.at(i).loss),
                      std::bit_cast<std::uint64_t>(expected.metrics[i].loss));
            EXPECT_EQ(
                std::bit_cast<std::uint64_t>(actual.metrics[i].grad_norm),
                std::bit_cast<std::uint64_t>(expected.metrics[i].grad_norm));
        }
        EXPECT_EQ(actual.tensors, expected.tensors);
    }
}

INSTANTIATE_TEST_SUITE_P(Models,
                         ImportedModels,
                         testing::Values("gpt",
                                         "bert",
                                         "resnet",
                                         "densenet",
                                         "inception",
                                         "vit",
                                         "unet",
                                         "lstm",
                                         "gru",
                                         "encoder_decoder"));

}  // namespace
}  // namespace fusionllm::test
