#include "fusionllm/cost/fit_device.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "fusionllm/cost/op_seconds.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

struct Weighted {
    double value = 0;
    double weight = 0;
};

//! The value at half of the weight; none if there is no weight.
std::optional<double> weighted_median(std::vector<Weighted> values) {
    std::ranges::sort(values, {}, &Weighted::value);
    double total = 0;
    for (const Weighted& value : values) {
        total += value.weight;
    }
    double below = 0;
    for (const Weighted& value : values) {
        below += value.weight;
        if (total > 0 && below >= total / 2) {
            return value.value;
        }
    }
    return std::nullopt;
}

//! One direction of a measured op.
struct Sample {
    OpKind kind;
    double flops;
    double bytes;
    double seconds;
    double count;
};

std::vector<Sample> forward_samples(const std::vector<MeasuredOpCost>& ops) {
    std::vector<Sample> samples;
    for (const MeasuredOpCost& op : ops) {
        samples.push_back({op.cost.kind,
                           op.cost.forward_flops,
                           op.cost.bytes,
                           op.forward_s,
                           static_cast<double>(op.count)});
    }
    return samples;
}

std::vector<Sample> backward_samples(const std::vector<MeasuredOpCost>& ops) {
    std::vector<Sample> samples;
    for (const MeasuredOpCost& op : ops) {
        if (op.cost.has_backward) {
            samples.push_back({op.cost.kind,
                               op.cost.backward_flops,
                               op.cost.backward_bytes,
                               op.backward_s,
                               static_cast<double>(op.count)});
        }
    }
    return samples;
}

std::optional<double> fit_overhead(const std::vector<Sample>& samples) {
    std::vector<Weighted> views;
    for (const Sample& sample : samples) {
        if (sample.kind == OpKind::view) {
            views.push_back({sample.seconds, sample.count});
        }
    }
    return weighted_median(std::move(views));
}

std::optional<double> fit_efficiency(const DeviceKind& device,
                                     const std::vector<Sample>& samples,
                                     OpKind kind) {
    std::vector<Weighted> slowness;
    for (const Sample& sample : samples) {
        // At full efficiency.
        const double ideal_s =
            std::max(sample.flops / device.flops_per_s,
                     sample.bytes / device.memory_bandwidth_bytes_per_s);
        const double own_s = sample.seconds - device.op_overhead_s;
        if (sample.kind == kind && ideal_s > 0 && own_s > 0) {
            slowness.push_back({own_s / ideal_s, sample.count * ideal_s});
        }
    }
    const auto median = weighted_median(std::move(slowness));
    return median ? std::optional(1 / *median) : std::nullopt;
}

//! Whose efficiency a kind takes that was not measured.
OpKind relative_of(OpKind kind) {
    switch (kind) {
        case OpKind::contraction:
            return OpKind::convolution;
        case OpKind::convolution:
        case OpKind::attention:
            return OpKind::contraction;
        default:
            return OpKind::elementwise;
    }
}

void fit_direction(std::array<double, num_op_kinds>& efficiency,
                   const DeviceKind& device,
                   const std::vector<Sample>& samples) {
    std::array<std::optional<double>, num_op_kinds> fitted;
    for (std::size_t kind = 0; kind < num_op_kinds; ++kind) {
        fitted[kind] =
            fit_efficiency(device, samples, static_cast<OpKind>(kind));
    }
    for (std::size_t kind = 0; kind < num_op_kinds; ++kind) {
        const auto relative =
            static_cast<std::size_t>(relative_of(static_cast<OpKind>(kind)));
        if (fitted[kind]) {
            efficiency[kind] = *fitted[kind];
        } else if (fitted[relative]) {
            efficiency[kind] = *fitted[relative];
        }
    }
}

}  // namespace

DeviceKind fit_device_kind(DeviceKind known,
                           const std::vector<MeasuredOpCost>& ops) {
    FUSIONLLM_VALIDATE(
        known.flops_per_s > 0 && known.memory_bandwidth_bytes_per_s > 0,
        "device kind '{}' has a peak of {} flop/s and a memory bandwidth of {} "
        "bytes/s; efficiencies are shares of these, give both",
        known.name,
        known.flops_per_s,
        known.memory_bandwidth_bytes_per_s);
    const auto forward = forward_samples(ops);
    const auto backward = backward_samples(ops);
    auto both = forward;
    both.insert(both.end(), backward.begin(), backward.end());
    known.op_overhead_s = fit_overhead(both).value_or(known.op_overhead_s);
    fit_direction(known.forward_efficiency, known, forward);
    fit_direction(known.backward_efficiency, known, backward);
    known.measured.clear();
    for (const MeasuredOpCost& op : ops) {
        known.measured.push_back({op.signature, op.forward_s, op.backward_s});
    }
    return known;
}

double mean_relative_error(const DeviceKind& device,
                           const std::vector<MeasuredOpCost>& ops) {
    double error_s = 0;
    double total_s = 0;
    for (const MeasuredOpCost& op : ops) {
        const OpSeconds seconds = estimate_by_formula(op.cost, device);
        const auto count = static_cast<double>(op.count);
        error_s += count * (std::abs(seconds.forward_s - op.forward_s) +
                            std::abs(seconds.backward_s - op.backward_s));
        total_s += count * (op.forward_s + op.backward_s);
    }
    return total_s > 0 ? error_s / total_s : 0;
}

}  // namespace fusionllm
