// How good is the workload estimator on this device?
//
//     bench_estimator ops
//     bench_estimator step --layers 8 --width 256 --np 2
//
// `ops` fits a device to the ops of some sizes of GPT-2 and predicts those of
// other sizes, whose measured times it does not get. `step` predicts the step
// time of bench_pipeline with the same options, by the measured times of the
// model's ops and by the formula alone. One thread. `estimator.py` compares.

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "fusionllm/codec/kokkos_scope.hpp"
#include "fusionllm/cost/op_seconds.hpp"
#include "fusionllm/data/text.hpp"
#include "fusionllm/exec/memory.hpp"
#include "fusionllm/exec/threads.hpp"
#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/plan/cost_model.hpp"
#include "fusionllm/plan/make_plan.hpp"
#include "fusionllm/runtime/batches.hpp"
#include "fusionllm/runtime/calibrate.hpp"
#include "fusionllm/sim/simulate.hpp"
#include "fusionllm/util/error.hpp"

namespace {

using namespace fusionllm;

constexpr double adamw_state_bytes = 8;

struct Size {
    Gpt2Options model;
    std::int64_t micro_batch = 2;
};

struct Options {
    Size size{{8, 256, 8, 128, 256, 0, true}, 2};
    int micro_batches = 16;
    int np = 2;
    std::string schedule = "1f1b";
    std::string partition = "equal_flops";
    bool is_quick = false;
    bool lists_ops = false;
    MeasureOptions measure;
};

Size size_of(std::int64_t width, std::int64_t context, std::int64_t batch) {
    constexpr std::int64_t head_width = 64;
    return {{2, width, width / head_width, context, 256, 0, true}, batch};
}

// Between and beyond: half of the held-out widths are larger than all others.
const std::vector<Size> fit_sizes = {size_of(128, 64, 2),
                                     size_of(128, 256, 4),
                                     size_of(256, 64, 8),
                                     size_of(256, 128, 2),
                                     size_of(512, 64, 2),
                                     size_of(512, 256, 2)};
const std::vector<Size> held_out_sizes = {size_of(192, 96, 4),
                                          size_of(320, 128, 2),
                                          size_of(384, 192, 2),
                                          size_of(640, 128, 2),
                                          size_of(768, 96, 4)};

std::vector<MeasuredOpCost> measure(const Size& size,
                                    const MeasureOptions& options) {
    const OpGraph graph = make_gpt2(size.model, size.micro_batch);
    const DatasetSplit data =
        make_synthetic_dataset(1,
                               static_cast<std::size_t>(size.model.context),
                               static_cast<std::size_t>(size.model.vocabulary),
                               0);
    std::vector<std::size_t> samples(
        static_cast<std::size_t>(size.micro_batch));
    std::iota(samples.begin(), samples.end(), std::size_t{0});
    return measure_ops(
        graph,
        make_batch(graph, *data.train, samples, graph.signature().inputs),
        options);
}

double total_s(const std::vector<MeasuredOpCost>& ops) {
    double seconds = 0;
    for (const MeasuredOpCost& op : ops) {
        seconds +=
            static_cast<double>(op.count) * (op.forward_s + op.backward_s);
    }
    return seconds;
}

std::vector<MeasuredOpCost> of_kind(const std::vector<MeasuredOpCost>& ops,
                                    OpKind kind) {
    std::vector<MeasuredOpCost> result;
    std::ranges::copy_if(
        ops, std::back_inserter(result), [&](const MeasuredOpCost& op) {
            return op.cost.kind == kind;
        });
    return result;
}

DeviceKind fit(const Options& options, std::vector<MeasuredOpCost>& ops) {
    const OpGraph graph =
        make_gpt2(options.size.model, options.size.micro_batch);
    const DeviceKind rates = measure_rates(graph, options.measure);
    const std::size_t num_sizes = options.is_quick ? 1 : fit_sizes.size();
    for (std::size_t i = 0; i < num_sizes; ++i) {
        const auto own = measure(fit_sizes[i], options.measure);
        ops.insert(ops.end(), own.begin(), own.end());
    }
    return fit_device_kind(rates, ops);
}

void list_ops(const DeviceKind& device,
              const std::vector<MeasuredOpCost>& ops) {
    for (const MeasuredOpCost& op : ops) {
        const OpSeconds predicted = estimate_by_formula(op.cost, device);
        fmt::print("{:9.1f} {:6.2f} {:9.1f} {:6.2f} {:3} {}\n",
                   1e6 * op.forward_s,
                   predicted.forward_s / op.forward_s,
                   1e6 * op.backward_s,
                   op.backward_s > 0 ? predicted.backward_s / op.backward_s : 0,
                   op.count,
                   op.signature);
    }
}

void print_kinds(const DeviceKind& device,
                 const std::vector<MeasuredOpCost>& ops) {
    for (std::size_t i = 0; i < num_op_kinds; ++i) {
        const auto own = of_kind(ops, static_cast<OpKind>(i));
        if (!own.empty()) {
            fmt::print("  {:<14} {:5.1f} % of the time, error {:6.1f} %\n",
                       to_text(static_cast<OpKind>(i)),
                       100 * total_s(own) / total_s(ops),
                       100 * mean_relative_error(device, own));
        }
    }
}

void run_ops(const Options& options) {
    std::vector<MeasuredOpCost> fitted;
    const DeviceKind device = fit(options, fitted);
    fmt::print(
        "peak {:.1f} Gflop/s, memory {:.1f} GB/s, op {:.1f} us, "
        "messages {:.1f} GB/s, updates {:.2f} GB/s\n",
        1e-9 * device.flops_per_s,
        1e-9 * device.memory_bandwidth_bytes_per_s,
        1e6 * device.op_overhead_s,
        1e-9 * device.copy_bytes_per_s,
        1e-9 * device.update_bytes_per_s);
    fmt::print("fitted sizes: error {:.1f} %\n",
               100 * mean_relative_error(device, fitted));
    if (options.lists_ops) {
        list_ops(device, fitted);
    }
    std::vector<MeasuredOpCost> all;
    const std::size_t num_sizes = options.is_quick ? 1 : held_out_sizes.size();
    for (std::size_t i = 0; i < num_sizes; ++i) {
        const Size& size = held_out_sizes[i];
        const auto ops = measure(size, options.measure);
        fmt::print(
            "{} wide, context {}, {} samples: {:.1f} ms, error {:.1f} "
            "%\n",
            size.model.width,
            size.model.context,
            size.micro_batch,
            1e3 * total_s(ops),
            100 * mean_relative_error(device, ops));
        if (options.lists_ops) {
            list_ops(device, ops);
        }
        all.insert(all.end(), ops.begin(), ops.end());
    }
    print_kinds(device, all);
    fmt::print("held-out sizes: error {:.1f} %\n",
               100 * mean_relative_error(device, all));
}

struct Prediction {
    double step_s = 0;
    std::vector<StageSeconds> stages;
};

Prediction predict(const Options& options, const DeviceKind& device) {
    const OpGraph graph =
        make_gpt2(options.size.model, options.size.micro_batch);
    const Workload workload = estimate_workload(graph);
    Topology topology = make_uniform_topology(options.np);
    topology.kinds = {device};
    const Plan plan = make_plan(graph,
                                workload,
                                topology,
                                options.partition,
                                options.schedule,
                                options.micro_batches);
    const CostModel model(graph, workload, topology, adamw_state_bytes);
    const StepCosts costs = model.step_costs(plan.placement);
    return {simulate_step_s(make_schedule(plan), costs, Network(topology)),
            costs.stages};
}

void run_step(const Options& options) {
    std::vector<MeasuredOpCost> others;
    DeviceKind formula = fit(options, others);
    formula.measured.clear();
    const DeviceKind measured =
        fit_device_kind(formula, measure(options.size, options.measure));
    const Prediction by_ops = predict(options, measured);
    fmt::print("measured_ops_s,{:.6f}\nformula_s,{:.6f}\nstages_s",
               by_ops.step_s,
               predict(options, formula).step_s);
    for (const StageSeconds& stage : by_ops.stages) {
        fmt::print(",{:.6f},{:.6f},{:.6f}",
                   stage.forward_s,
                   stage.backward_s,
                   stage.update_s);
    }
    fmt::print("\n");
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app("Predict times of ops and steps");
    app.require_subcommand(1);
    app.add_flag("--quick", options.is_quick, "one size of each, to try it");
    app.add_option("--repeat", options.measure.repeats, "times each op runs");
    auto* ops = app.add_subcommand("ops", "of sizes that were not measured");
    ops->add_flag("--list", options.lists_ops, "every op, us and ratio");
    auto* step = app.add_subcommand("step", "of a run of bench_pipeline");
    step->add_option("--layers", options.size.model.layers);
    step->add_option("--width", options.size.model.width);
    step->add_option("--heads", options.size.model.heads);
    step->add_option("--context", options.size.model.context);
    step->add_option("--micro-batch", options.size.micro_batch);
    step->add_option("--micro-batches", options.micro_batches);
    step->add_option("--schedule", options.schedule);
    step->add_option("--partition", options.partition);
    step->add_option("--np", options.np);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Error& error) {
        return app.exit(error);
    }
    try {
        keep_freed_memory();
        set_num_threads(1);
        const KokkosScope kokkos(1);
        ops->parsed() ? run_ops(options) : run_step(options);
    } catch (const std::exception& error) {
        fmt::print(stderr, "bench_estimator: {}\n", error.what());
        return 1;
    }
    return 0;
}
