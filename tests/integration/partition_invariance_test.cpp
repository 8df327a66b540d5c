// Law 1: losses, gradients (by their norm) and parameters are bitwise equal for
// every number of stages, every partition, every schedule, and with recompute.

#include <bit>
#include <cstring>
#include <limits>
#include <mutex>
#include <set>

#include <gtest/gtest.h>

#include "training.hpp"

namespace fusionllm::test {
namespace {

//! Images whose first pixel is infinite.
class NotFinite final : public Dataset {
public:
    explicit NotFinite(std::shared_ptr<const Dataset> images)
        : images_(std::move(images)) {}
    std::size_t size() const override { return images_->size(); }
    std::vector<HostTensor> get(std::size_t index) const override {
        std::vector<HostTensor> sample = images_->get(index);
        const float infinity = std::numeric_limits<float>::infinity();
        std::memcpy(sample[0].bytes.data(), &infinity, sizeof infinity);
        return sample;
    }
    std::uint64_t content_hash() const override {
        return images_->content_hash();
    }

private:
    std::shared_ptr<const Dataset> images_;
};

void expect_bitwise_equal(const TrainingResult& actual,
                          const TrainingResult& expected) {
    ASSERT_EQ(actual.metrics.size(), expected.metrics.size());
    for (std::size_t i = 0; i < expected.metrics.size(); ++i) {
        const StepMetrics& a = actual.metrics[i];
        const StepMetrics& e = expected.metrics[i];
        EXPECT_EQ(std::bit_cast<std::uint64_t>(a.loss),
                  std::bit_cast<std::uint64_t>(e.loss))
            << "loss of step " << e.step << ": " << a.loss << ", " << e.loss;
        EXPECT_EQ(std::bit_cast<std::uint64_t>(a.grad_norm),
                  std::bit_cast<std::uint64_t>(e.grad_norm))
            << "grad_norm of step " << e.step;
        EXPECT_EQ(a.validation_loss, e.validation_loss);
        EXPECT_EQ(a.validation_accuracy, e.validation_accuracy);
    }
    ASSERT_EQ(actual.tensors.size(), expected.tensors.size());
    for (const auto& [name, tensor] : expected.tensors) {
        EXPECT_EQ(actual.tensors.at(name), tensor) << name;
    }
}

struct Way {
    int ranks;
    std::string schedule;
    std::string partition;
    Recompute recompute = Recompute::off;
};

TrainingResult train_in_a_way(TrainingCase training, const Way& way) {
    training.ranks = way.ranks;
    training.schedule = way.schedule;
    training.partition = way.partition;
    training.recompute = way.recompute;
    return train(training);
}

std::string name_of(const testing::TestParamInfo<Way>& info) {
    return std::to_string(info.param.ranks) + "_" + info.param.schedule + "_" +
           info.param.partition +
           (info.param.recompute == Recompute::on ? "_recompute" : "");
}

class PartitionInvariance : public testing::TestWithParam<Way> {};

TEST_P(PartitionInvariance, gives_the_bits_of_one_stage) {
    static const TrainingResult expected = train(make_hard_case());

    const TrainingResult actual = train_in_a_way(make_hard_case(), GetParam());

    expect_bitwise_equal(actual, expected);
}

INSTANTIATE_TEST_SUITE_P(
    Ways,
    PartitionInvariance,
    testing::Values(Way{1, "gpipe", "equal_ops"},
                    Way{2, "1f1b", "equal_ops"},
                    Way{2, "gpipe", "equal_flops"},
                    Way{3, "1f1b", "equal_flops"},
                    Way{3, "gpipe", "equal_ops"},
                    Way{4, "1f1b", "equal_ops"},
                    Way{4, "gpipe", "equal_flops"},
                    Way{7, "1f1b", "equal_ops"},
                    Way{7, "gpipe", "equal_ops"},
                    Way{7, "1f1b", "equal_flops"},
                    Way{48, "1f1b", "equal_ops"},
                    Way{1, "gpipe", "equal_ops", Recompute::on},
                    Way{3, "1f1b", "equal_flops", Recompute::on},
                    Way{7, "gpipe", "equal_ops", Recompute::on}),
    name_of);

class ImageInvariance : public testing::TestWithParam<Way> {};

TEST_P(ImageInvariance, gives_the_bits_of_one_stage_with_batch_norms) {
    static const TrainingResult expected = train(make_image_case());

    const TrainingResult actual = train_in_a_way(make_image_case(), GetParam());

    expect_bitwise_equal(actual, expected);
    EXPECT_TRUE(actual.tensors.contains("buffers/bn1.running_mean"));
    EXPECT_TRUE(actual.metrics[1].validation_accuracy.has_value());
}

INSTANTIATE_TEST_SUITE_P(
    Ways,
    ImageInvariance,
    testing::Values(Way{2, "1f1b", "equal_ops"},
                    Way{3, "gpipe", "equal_flops"},
                    Way{5, "1f1b", "equal_ops"},
                    Way{5, "gpipe", "equal_ops"},
                    Way{1, "1f1b", "equal_ops", Recompute::on},
                    Way{3, "1f1b", "equal_ops", Recompute::on}),
    name_of);

TEST(Training, starts_from_given_parameters_and_buffers) {
    TrainingCase training = make_image_case();
    training.options.steps = 2;
    const TrainingResult first = train(training);
    training.options.steps = 0;
    training.ranks = 3;
    std::mutex mutex;
    std::set<std::string> asked;
    training.initial = [&](const std::string& name) {
        const std::lock_guard lock(mutex);
        EXPECT_TRUE(asked.insert(name).second) << name << " twice";
        const auto parameter = first.tensors.find("parameters/" + name);
        return std::optional(parameter != first.tensors.end()
                                 ? parameter->second
                                 : first.tensors.at("buffers/" + name));
    };

    const TrainingResult second = train(training);

    for (const auto& [name, tensor] : first.tensors) {
        if (!name.starts_with("optimizer/")) {
            EXPECT_EQ(second.tensors.at(name), tensor) << name;
        }
    }
}

TEST(Training, a_skipped_step_leaves_buffers_as_they_were) {
    TrainingCase training = make_image_case();
    training.options.steps = 1;
    training.options.batch = 8;
    training.load_data = [] {
        DatasetSplit split = make_image_case().load_data();
        split.train = std::make_shared<NotFinite>(split.train);
        return split;
    };

    const TrainingResult result = train(training);

    ASSERT_EQ(result.metrics.size(), 1U);
    EXPECT_NE(result.metrics[0].skipped, "");
    for (const auto& [name, tensor] : result.tensors) {
        if (name.ends_with("running_mean")) {
            EXPECT_EQ(tensor.bytes, std::vector<std::byte>(tensor.bytes.size()))
                << name;
        }
    }
}

TEST(PartitionInvariance, recompute_keeps_the_bits_between_fences) {
    TrainingCase training = make_hard_case();
    training.fences = [](const OpGraph& graph) {
        std::vector<Fence> fences;
        for (const std::size_t share : {1, 2, 3}) {
            const std::size_t cut = share * graph.ops().size() / 4;
            for (const ValueId value : compressible_values(graph, cut)) {
                fences.push_back(
                    {cut, value, parse_codec_choice("int4/int3s", 4)});
            }
        }
        return fences;
    };
    const TrainingResult expected = train(training);
    training.recompute = Recompute::on;
    for (const int ranks : {1, 2, 3}) {
        training.ranks = ranks;

        const TrainingResult actual = train(training);

        SCOPED_TRACE(ranks);
        expect_bitwise_equal(actual, expected);
    }
}

TEST(Training, learns_and_depends_on_the_seed) {
    TrainingCase training = make_hard_case();
    training.options.steps = 12;
    const TrainingResult first = train(training);
    training.options.seed = 2;
    const TrainingResult second = train(training);

    EXPECT_LT(first.metrics.back().loss, first.metrics.front().loss);
    EXPECT_NE(first.metrics.front().loss, second.metrics.front().loss);
}

TEST(Training, untied_embeddings_and_sgd_are_invariant_too) {
    TrainingCase training = make_hard_case();
    training.model.tie_embeddings = false;
    training.options.optimizer.kind = "sgd";
    training.options.optimizer.momentum = 0.9;
    const TrainingResult expected = train(training);
    training.ranks = 5;

    const TrainingResult actual = train(training);

    expect_bitwise_equal(actual, expected);
}

}  // namespace
}  // namespace fusionllm::test
