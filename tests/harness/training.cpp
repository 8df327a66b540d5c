#include "training.hpp"

#include <mutex>

#include "fusionllm/codec/kokkos_scope.hpp"
#include "fusionllm/comm/loopback.hpp"
#include "fusionllm/cost/workload.hpp"
#include "fusionllm/data/images.hpp"
#include "fusionllm/exec/threads.hpp"
#include "fusionllm/graph/resnet.hpp"
#include "fusionllm/plan/make_plan.hpp"

namespace fusionllm::test {
namespace {

//! So few that there are several epochs.
class FirstSamples final : public Dataset {
public:
    FirstSamples(std::shared_ptr<const Dataset> all, std::size_t size)
        : all_(std::move(all)), size_(size) {}
    std::size_t size() const override { return size_; }
    std::vector<HostTensor> get(std::size_t index) const override {
        return all_->get(index);
    }
    std::vector<HostTensor> get_in_epoch(std::size_t index,
                                         std::uint64_t epoch) const override {
        return all_->get_in_epoch(index, epoch);
    }
    std::uint64_t content_hash() const override { return 1; }

private:
    std::shared_ptr<const Dataset> all_;
    std::size_t size_;
};

}  // namespace

void start_kokkos() {
    static const KokkosScope scope(1);
}

TrainingCase make_hard_case() {
    TrainingCase training;
    training.model.layers = 3;
    training.model.width = 32;
    training.model.heads = 2;
    training.model.context = 16;
    training.model.vocabulary = 64;
    training.model.dropout = 0.1;
    training.options.steps = 3;
    training.options.batch = 8;
    training.options.clip_norm = 0.5;
    training.options.optimizer.weight_decay = 0.1;
    training.options.learning_rate.peak = 1e-2;
    training.options.evaluate_every = 2;
    return training;
}

TrainingCase make_image_case() {
    TrainingCase training;
    training.make_graph = [](std::int64_t micro_batch) {
        ResnetOptions options;
        options.depth = 18;
        options.classes = 3;
        options.image = 8;
        options.stem = ResnetStem::cifar;
        options.channels = 3;
        return make_resnet(options, micro_batch);
    };
    training.load_data = [] {
        const DatasetSplit all = make_synthetic_image_dataset(
            1, {3, 3, 8, 8}, {1, true, {0.5}, {0.25}}, 2e-5);
        return DatasetSplit{std::make_shared<FirstSamples>(all.train, 20),
                            all.validation};
    };
    training.options.steps = 3;
    training.options.batch = 12;
    training.options.clip_norm = 1;
    training.options.learning_rate.peak = 1e-2;
    training.options.evaluate_every = 2;
    return training;
}

TrainingResult train(const TrainingCase& training) {
    start_kokkos();
    const std::int64_t micro_batch =
        training.options.batch / training.micro_batches;
    const OpGraph graph = training.make_graph
                              ? training.make_graph(micro_batch)
                              : make_gpt2(training.model, micro_batch);
    const Topology topology = make_uniform_topology(training.ranks);
    Plan plan = make_plan(graph,
                          estimate_workload(graph),
                          topology,
                          training.partition,
                          training.schedule,
                          training.micro_batches);
    plan.recompute = training.recompute;
    if (training.fences) {
        plan.fences = training.fences(graph);
    }
    TrainingResult result;
    std::mutex mutex;
    run_loopback(training.ranks, [&](Transport& loopback) {
        const auto decorated =
            training.decorate ? training.decorate(loopback) : nullptr;
        Transport& transport = decorated ? *decorated : loopback;
        TrainerSetup setup{graph,
                           plan,
                           {},
                           training.device,
                           0,
                           0,
                           training.is_shuffled,
                           {},
                           {}};
        for (int rank = 0; rank < training.ranks; ++rank) {
            setup.device_of_rank.emplace_back(rank);
        }
        setup.compute_scope = [] {
            set_num_threads(1);
            return std::shared_ptr<void>();
        };
        setup.load_data = [&] {
            if (training.load_data) {
                return training.load_data();
            }
            return make_synthetic_dataset(training.options.seed,
                                          training.model.context,
                                          training.model.vocabulary,
                                          0.001);
        };
        setup.initial = training.initial;
        setup.evaluation = training.evaluation;
        setup.bases = {2};
        setup.measure_every = training.measure_every;
        if (training.emulate) {
            setup.emulation = training.emulate(graph, plan);
        }
        setup.waits = training.waits;
        TrainerHooks hooks;
        if (training.load) {
            hooks.load = [&](const std::string& name) {
                return std::optional(training.load(name));
            };
        }
        hooks.on_step = [&](const StepMetrics& metrics) {
            const std::lock_guard lock(mutex);
            result.metrics.push_back(metrics);
        };
        hooks.save = [&](std::int64_t, const std::vector<NamedTensor>& mine) {
            const std::lock_guard lock(mutex);
            for (const NamedTensor& tensor : mine) {
                result.tensors[tensor.name] = tensor.tensor;
            }
        };
        Trainer trainer(
            transport, std::move(setup), training.options, std::move(hooks));
        trainer.run();
        if (transport.rank() == 0) {
            result.traffic = trainer.traffic();
        }
    });
    return result;
}

}  // namespace fusionllm::test
