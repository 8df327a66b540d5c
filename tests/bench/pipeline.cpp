// What does the pipeline cost, and what does it give?
//
//     mpirun -np 1 --bind-to none bench_pipeline --bare
//     mpirun -np 2 --bind-to none bench_pipeline
//
// Trains a GPT-2 of random first parameters on made-up sequences, one thread a
// rank, and prints the seconds of a step and what they went into. With --bare,
// on one rank, each step is followed by a step of a bare LibTorch loop over
// the same graph and samples. With --waits nothing is computed: stages wait as
// long as they are told. `pipeline.sh` compares rank counts.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "fusionllm/codec/kokkos_scope.hpp"
#include "fusionllm/comm/mpi.hpp"
#include "fusionllm/comm/mpi_transport.hpp"
#include "fusionllm/cost/workload.hpp"
#include "fusionllm/exec/memory.hpp"
#include "fusionllm/exec/threads.hpp"
#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/plan/make_plan.hpp"
#include "fusionllm/runtime/batches.hpp"
#include "fusionllm/runtime/trainer.hpp"

#include "bare_loop.hpp"
#include "pipeline_report.hpp"

namespace {

using namespace fusionllm;
using bench::BenchOptions;
using bench::Figures;

BenchOptions parse_options(int argc, char** argv) {
    BenchOptions options;
    CLI::App app("Time training steps on one rank or several");
    app.add_option("--layers", options.model.layers);
    app.add_option("--width", options.model.width);
    app.add_option("--heads", options.model.heads);
    app.add_option("--context", options.model.context);
    app.add_option("--micro-batch", options.micro_batch, "samples");
    app.add_option("--micro-batches", options.micro_batches, "of a step");
    app.add_option("--warmup", options.warmup, "steps that do not count")
        ->check(CLI::Range(1, 1000000));
    app.add_option("--steps", options.steps, "steps that count")
        ->check(CLI::Range(1, 1000000));
    app.add_option("--schedule", options.schedule);
    app.add_option("--partition", options.partition);
    app.add_flag("--bare", options.has_bare_loop, "compare with LibTorch");
    app.add_option("--waits", options.waits, "seconds of stages: f b u ...");
    app.add_option("--csv", options.csv, "append all seconds to this file");
    try {
        app.parse(argc, argv);
    } catch (const CLI::Error& error) {
        std::exit(app.exit(error));
    }
    return options;
}

TrainOptions make_train_options(const BenchOptions& options) {
    TrainOptions train;
    train.steps = options.warmup + options.steps;
    train.batch = options.micro_batch * options.micro_batches;
    train.optimizer.weight_decay = 0.1;
    train.learning_rate.peak = 1e-4;
    train.clip_norm = 1;
    return train;
}

//! By stage.
std::vector<StageSeconds> waits_of(const BenchOptions& options) {
    std::vector<StageSeconds> stages;
    for (std::size_t i = 0; i + 2 < options.waits.size(); i += 3) {
        stages.push_back(
            {options.waits[i], options.waits[i + 1], options.waits[i + 2]});
    }
    return stages;
}

//! Seconds of the processor that this process has used, all threads.
double cpu_s() {
    return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

//! The bare loop, fed with the samples that the trainer takes.
class BareSteps {
public:
    BareSteps(const BenchOptions& options, const OpGraph& graph)
        : options_(options),
          train_(make_train_options(options)),
          graph_(graph),
          data_(make_synthetic_dataset(
              train_.seed, options.model.context, options.model.vocabulary, 0)),
          order_(train_.seed, data_.train->size(), SampleOrder::Kind::shuffled),
          loop_(graph, train_.seed, train_.optimizer, train_.clip_norm) {}

    //! The loss of step `step`, counted from 0.
    double run(std::int64_t step) {
        std::vector<bench::Inputs> micro_batches;
        auto position = static_cast<std::uint64_t>(step * train_.batch);
        for (int m = 0; m < options_.micro_batches; ++m) {
            std::vector<std::size_t> samples;
            for (std::int64_t i = 0; i < options_.micro_batch; ++i) {
                samples.push_back(order_(position++));
            }
            micro_batches.push_back(make_batch(
                graph_, *data_.train, samples, graph_.signature().inputs));
        }
        return loop_.step(micro_batches, train_.learning_rate.peak);
    }

private:
    BenchOptions options_;
    TrainOptions train_;
    const OpGraph& graph_;
    DatasetSplit data_;
    SampleOrder order_;
    bench::BareLoop loop_;
};

std::vector<Section> difference(std::vector<Section> after,
                                const std::vector<Section>& before) {
    for (Section& section : after) {
        const auto old =
            std::ranges::find(before, section.name, &Section::name);
        if (old != before.end()) {
            section.seconds -= old->seconds;
        }
    }
    return after;
}

Figures measure(const BenchOptions& options,
                const OpGraph& graph,
                const Plan& plan,
                Transport& transport) {
    TrainerSetup setup{
        graph, plan, {}, "cpu", 0, 0, true, {}, {}, monotonic_s()};
    for (int rank = 0; rank < transport.size(); ++rank) {
        setup.device_of_rank.emplace_back(rank);
    }
    setup.compute_scope = []() -> std::shared_ptr<void> {
        keep_freed_memory();
        set_num_threads(1);
        return std::make_shared<KokkosScope>(1);
    };
    setup.load_data = [&] {
        return make_synthetic_dataset(make_train_options(options).seed,
                                      options.model.context,
                                      options.model.vocabulary,
                                      0);
    };
    if (!options.waits.empty()) {
        setup.waits =
            StageWaits{StageWaits::Kind::in_place_of_computing,
                       [waits = waits_of(options)](const std::vector<Fence>&) {
                           return waits;
                       }};
    }
    Figures figures;
    std::optional<BareSteps> bare;
    if (options.has_bare_loop) {
        set_num_threads(1);
        bare.emplace(options, graph);
    }
    TrainerHooks hooks;
    double cpu_mark_s = 0;
    hooks.on_step = [&](const StepMetrics& metrics) {
        const bool is_counted = metrics.step > options.warmup;
        if (is_counted) {
            figures.step_s.push_back(metrics.step_s);
            figures.step_cpu_s.push_back(cpu_s() - cpu_mark_s);
        }
        if (bare) {
            const double begin = monotonic_s();
            const double begin_cpu = cpu_s();
            const double loss = bare->run(metrics.step - 1);
            if (is_counted) {
                figures.bare_s.push_back(monotonic_s() - begin);
                figures.bare_cpu_s.push_back(cpu_s() - begin_cpu);
            }
            figures.largest_loss_difference =
                std::max(figures.largest_loss_difference,
                         std::abs(loss - metrics.loss) / metrics.loss);
        }
        cpu_mark_s = cpu_s();
    };
    // Called by every rank after the backwards of a step: from those of the
    // last warm-up step to those of the last step are `steps` whole steps.
    std::optional<Trainer> trainer;
    std::vector<Section> before;
    std::int64_t num_calls = 0;
    hooks.stop_requested = [&] {
        if (++num_calls == options.warmup) {
            before = trainer->sections().sections();
        } else if (num_calls == options.warmup + options.steps) {
            figures.sections =
                difference(trainer->sections().sections(), before);
        }
        return StopRequest::none;
    };
    trainer.emplace(transport,
                    std::move(setup),
                    make_train_options(options),
                    std::move(hooks));
    trainer->run();
    return figures;
}

void run(const BenchOptions& options) {
    const auto world = mpi::Communicator::world();
    FUSIONLLM_VALIDATE(!options.has_bare_loop || world.size() == 1,
                       "--bare compares on one rank, not on {}; start one",
                       world.size());
    FUSIONLLM_VALIDATE(
        options.waits.empty() ||
            waits_of(options).size() == static_cast<std::size_t>(world.size()),
        "--waits has seconds of {} stages; give three for each of {} ranks",
        waits_of(options).size(),
        world.size());
    const OpGraph graph = make_gpt2(options.model, options.micro_batch);
    const Plan plan = make_plan(graph,
                                estimate_workload(graph),
                                make_uniform_topology(world.size()),
                                options.partition,
                                options.schedule,
                                options.micro_batches);
    MpiTransport transport(world, {std::vector<int>(world.size(), 0), {}});
    const Figures figures = measure(options, graph, plan, transport);
    const auto sections = mpi::all_gather_strings(
        world, bench::sections_text(figures, options, world.rank()));
    if (world.rank() == 0) {
        bench::report(options, graph, plan, figures, sections);
    }
}

}  // namespace

int main(int argc, char** argv) {
    const mpi::Environment environment(argc, argv);
    const BenchOptions options = parse_options(argc, argv);
    try {
        run(options);
    } catch (const std::exception& error) {
        fmt::print(stderr, "bench_pipeline: {}\n", error.what());
        mpi::abort(1);
    }
}
