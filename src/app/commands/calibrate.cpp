#include "fusionllm/runtime/calibrate.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <unistd.h>

#include "fusionllm/codec/kokkos_scope.hpp"
#include "fusionllm/exec/memory.hpp"
#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/exec/threads.hpp"
#include "fusionllm/graph/resnet.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/output_file.hpp"
#include "fusionllm/util/random.hpp"
#include "fusionllm/util/units.hpp"

#include "app/commands/commands.hpp"
#include "app/input_files.hpp"
#include "app/job.hpp"
#include "app/topology_toml.hpp"

namespace fusionllm {
namespace {

//! A graph to measure and a micro-batch for it.
struct Sample {
    OpGraph graph;
    std::vector<HostTensor> inputs;
};

//! Numbers in [-0.5, 0.5) for images; 0 and 1 for tokens and labels, which
//! every vocabulary has. So no data are needed.
HostTensor make_noise(const TensorType& type) {
    HostTensor tensor{type, std::vector<std::byte>(num_bytes(type))};
    const auto count = static_cast<std::size_t>(num_elements(type));
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t key = derive_key(1, static_cast<std::uint64_t>(i));
        if (type.dtype == DType::f32) {
            const auto number = static_cast<float>(key >> 40) * 0x1p-24f - 0.5f;
            std::memcpy(&tensor.bytes[i * sizeof(float)], &number, 4);
        } else if (type.dtype == DType::i64) {
            const auto number = static_cast<std::int64_t>(key % 2);
            std::memcpy(&tensor.bytes[i * sizeof(number)], &number, 8);
        }
    }
    return tensor;
}

Sample make_sample(OpGraph graph) {
    std::vector<HostTensor> inputs;
    for (const ValueId input : graph.signature().inputs) {
        inputs.push_back(make_noise(graph.value(input).type));
    }
    return {std::move(graph), std::move(inputs)};
}

//! Without an input: sizes between which a small model's lie, for all kinds of
//! ops.
std::vector<Sample> default_samples() {
    constexpr std::int64_t micro_batch = 4;
    std::vector<Sample> samples;
    for (const std::int64_t width : {128, 256, 512}) {
        for (const std::int64_t context : {64, 256}) {
            const Gpt2Options model{
                2, width, width / 64, context, 256, 0.1, true};
            samples.push_back(make_sample(make_gpt2(model, micro_batch)));
        }
    }
    ResnetOptions resnet;
    resnet.depth = 18;
    resnet.image = 32;
    resnet.classes = 10;
    resnet.stem = ResnetStem::cifar;
    samples.push_back(make_sample(make_resnet(resnet, micro_batch)));
    resnet.depth = 50;
    resnet.image = 64;
    resnet.stem = ResnetStem::imagenet;
    samples.push_back(make_sample(make_resnet(resnet, micro_batch)));
    return samples;
}

std::vector<Sample> samples_of(const RunInput& input) {
    std::vector<Sample> samples;
    const ModelSource source = load_model(input);
    samples.push_back(
        make_sample(make_job(choose_micro_batches(input, source, std::nullopt),
                             source,
                             std::nullopt)
                        .graph));
    return samples;
}

//! Ops that several graphs have are measured in the first that has them.
void add_new(std::vector<MeasuredOpCost>& all,
             std::vector<MeasuredOpCost> ops) {
    std::map<std::string, std::size_t> known;
    for (std::size_t i = 0; i < all.size(); ++i) {
        known[all[i].signature] = i;
    }
    for (MeasuredOpCost& op : ops) {
        const auto found = known.find(op.signature);
        if (found == known.end()) {
            all.push_back(std::move(op));
        } else {
            all[found->second].count += op.count;
        }
    }
}

std::size_t parameter_bytes(const OpGraph& graph) {
    std::size_t bytes = 0;
    for (const Parameter& parameter : graph.signature().parameters) {
        bytes += num_bytes(graph.value(parameter.value).type);
    }
    return bytes;
}

double host_memory_bytes() {
    return static_cast<double>(sysconf(_SC_PHYS_PAGES)) *
           static_cast<double>(sysconf(_SC_PAGESIZE));
}

//! Measurements are not better than this, and files stay short.
double rounded(double number) {
    return std::stod(fmt::format("{:.3e}", number));
}

DeviceKind rounded(DeviceKind device) {
    for (double* number : {&device.flops_per_s,
                           &device.memory_bandwidth_bytes_per_s,
                           &device.op_overhead_s,
                           &device.copy_bytes_per_s,
                           &device.update_bytes_per_s}) {
        *number = rounded(*number);
    }
    for (std::size_t kind = 0; kind < num_op_kinds; ++kind) {
        device.forward_efficiency[kind] =
            rounded(device.forward_efficiency[kind]);
        device.backward_efficiency[kind] =
            rounded(device.backward_efficiency[kind]);
    }
    for (MeasuredOp& op : device.measured) {
        op.forward_s = rounded(op.forward_s);
        op.backward_s = rounded(op.backward_s);
    }
    return device;
}

DeviceKind calibrate(const std::vector<Sample>& samples,
                     const RunSection& run,
                     const MeasureOptions& options,
                     std::vector<MeasuredOpCost>& ops) {
    const Sample& largest =
        *std::ranges::max_element(samples, {}, [](const Sample& sample) {
            return parameter_bytes(sample.graph);
        });
    DeviceKind known = measure_rates(largest.graph, options);
    known.name = run.device;
    if (options.device.is_cpu()) {
        known.memory_bytes = host_memory_bytes();
        known.cores = static_cast<int>(run.threads);
    }
    for (const Sample& sample : samples) {
        add_new(ops, measure_ops(sample.graph, sample.inputs, options));
    }
    return rounded(fit_device_kind(std::move(known), ops));
}

//! Seconds of the ops of a kind, both directions, and how many there are.
void print_kind(const DeviceKind& device,
                const std::vector<MeasuredOpCost>& ops,
                OpKind kind,
                double total_s) {
    std::vector<MeasuredOpCost> own;
    std::ranges::copy_if(ops, std::back_inserter(own), [&](const auto& op) {
        return op.cost.kind == kind;
    });
    double seconds = 0;
    for (const MeasuredOpCost& op : own) {
        seconds +=
            static_cast<double>(op.count) * (op.forward_s + op.backward_s);
    }
    if (own.empty()) {
        return;
    }
    const auto i = static_cast<std::size_t>(kind);
    fmt::print("{:<14} {:>8.3f} {:>9.3f} {:>6} {:>6.1f} % {:>6.1f} %\n",
               to_text(kind),
               device.forward_efficiency[i],
               device.backward_efficiency[i],
               own.size(),
               100 * seconds / total_s,
               100 * mean_relative_error(device, own));
}

void print_report(const DeviceKind& device,
                  const std::vector<MeasuredOpCost>& ops) {
    fmt::print(
        "{}: {}flop/s, memory {}/s, {} an op, messages {}/s, updates {}/s\n\n",
        device.name,
        format_count(device.flops_per_s),
        format_bytes(device.memory_bandwidth_bytes_per_s),
        format_seconds(device.op_overhead_s),
        format_bytes(device.copy_bytes_per_s),
        format_bytes(device.update_bytes_per_s));
    double total_s = 0;
    for (const MeasuredOpCost& op : ops) {
        total_s +=
            static_cast<double>(op.count) * (op.forward_s + op.backward_s);
    }
    fmt::print("{:<14} {:>8} {:>9} {:>6} {:>8} {:>8}\n",
               "kind",
               "forward",
               "backward",
               "sizes",
               "time",
               "error");
    for (std::size_t kind = 0; kind < num_op_kinds; ++kind) {
        print_kind(device, ops, static_cast<OpKind>(kind), total_s);
    }
    fmt::print(
        "\nWithout its measured ops the device is off by {:.1f} % of their "
        "time.\n",
        100 * mean_relative_error(device, ops));
}

}  // namespace

int run_calibrate(const CalibrateArguments& arguments) {
    FUSIONLLM_VALIDATE(arguments.repeats > 0,
                       "--repeat is {}; it must be 1 or more",
                       arguments.repeats);
    const bool has_input = !arguments.input.file.empty();
    FUSIONLLM_VALIDATE(has_input || arguments.input.overrides.empty(),
                       "--set changes a key of an input file, but none is "
                       "given; name one, or leave --set out to measure the "
                       "built-in sizes");
    const RunInput input = has_input ? load_run_input(arguments.input.file,
                                                      arguments.input.overrides)
                                     : RunInput();
    check_output_file(arguments.output,
                      list_input_files(arguments.input.file, input));
    MeasureOptions options;
    options.device = parse_device(input.run.device, 0);
    options.repeats = arguments.repeats;
    keep_freed_memory();
    set_num_threads(static_cast<int>(input.run.threads));
    const KokkosScope kokkos(static_cast<int>(input.run.threads));
    std::vector<MeasuredOpCost> ops;
    const DeviceKind device =
        calibrate(has_input ? samples_of(input) : default_samples(),
                  input.run,
                  options,
                  ops);
    write_file(arguments.output, device_file_text({device}));
    print_report(device, ops);
    if (const auto advice = blas_advice(); !advice.empty()) {
        fmt::print("note: {}; then calibrate again\n", advice);
    }
    fmt::print("Written to {}; name it in [topology] device_files.\n",
               arguments.output.string());
    return 0;
}

}  // namespace fusionllm
