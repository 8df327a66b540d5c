#include <algorithm>
#include <functional>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "fusionllm/exec/optimizer.hpp"
#include "fusionllm/exec/parameter_store.hpp"
#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/runtime/calibrate.hpp"
#include "fusionllm/util/buffer.hpp"

#include "calibrate_clock.hpp"

namespace fusionllm {
namespace {

using detail::device_time_s;
using detail::median;

//! Seconds of each of the repeats, after the warm-up.
std::vector<double> time_all(const MeasureOptions& options,
                             const std::function<void()>& task) {
    std::vector<double> seconds;
    for (int i = 0; i < options.warmup + options.repeats; ++i) {
        const double begin_s = device_time_s(options.device);
        task();
        const double end_s = device_time_s(options.device);
        if (i >= options.warmup) {
            seconds.push_back(end_s - begin_s);
        }
    }
    return seconds;
}

double measure_peak(const MeasureOptions& options) {
    // Large enough to fill the device, small enough for 13 times of it.
    const std::int64_t n = options.device.is_cpu() ? 1024 : 4096;
    const auto tensor = at::TensorOptions().device(options.device);
    const at::Tensor a = at::rand({n, n}, tensor);
    const at::Tensor b = at::rand({n, n}, tensor);
    at::Tensor c = at::empty({n, n}, tensor);
    const auto seconds = time_all(options, [&] { at::mm_out(c, a, b); });
    const auto size = static_cast<double>(n);
    return 2 * size * size * size / std::ranges::min(seconds);
}

double measure_bandwidth(const MeasureOptions& options) {
    constexpr std::int64_t elements = 64 << 20;  // beyond all caches
    const auto tensor = at::TensorOptions().device(options.device);
    const at::Tensor from = at::ones({elements}, tensor);
    at::Tensor to = at::zeros({elements}, tensor);
    const auto seconds = time_all(options, [&] { to.copy_(from); });
    return 2.0 * sizeof(float) * elements / std::ranges::min(seconds);
}

double measure_copy(const MeasureOptions& options) {
    constexpr std::int64_t elements = 1 << 20;
    const at::Tensor tensor =
        at::ones({elements}, at::TensorOptions().device(options.device));
    std::vector<std::byte> bytes(sizeof(float) * elements);
    return static_cast<double>(bytes.size()) / median(time_all(options, [&] {
               copy_to_bytes(tensor, bytes.data());
           }));
}

double measure_update(const OpGraph& graph, const MeasureOptions& options) {
    OptimizerOptions adamw;
    adamw.kind = "adamw";
    adamw.weight_decay = 0.1;
    const auto optimizer = make_optimizer(adamw);
    std::vector<HeldParameter> parameters;
    std::vector<at::Tensor> gradients;
    double bytes = 0;
    for (const Parameter& parameter : graph.signature().parameters) {
        HeldParameter held;
        held.value = from_host(initial_value(graph, parameter, options.seed),
                               options.device);
        optimizer->make_state(held);
        gradients.push_back(at::ones_like(held.value));
        bytes += static_cast<double>(held.value.nbytes());
        parameters.push_back(std::move(held));
    }
    const at::NoGradGuard no_grad;
    const double seconds = median(time_all(options, [&] {
        double square = 0;
        for (const at::Tensor& gradient : gradients) {
            const double norm =
                at::linalg_vector_norm(
                    gradient, 2, c10::nullopt, false, at::kDouble)
                    .item<double>();
            square += norm * norm;
        }
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            UpdateInput input;
            input.gradient = gradients[i].mul(1 / (1 + square));
            input.learning_rate = 1e-6;
            optimizer->update(parameters[i], input);
        }
    }));
    return bytes / seconds;
}

}  // namespace

DeviceKind measure_rates(const OpGraph& graph, const MeasureOptions& options) {
    DeviceKind device;
    device.flops_per_s = measure_peak(options);
    device.memory_bandwidth_bytes_per_s = measure_bandwidth(options);
    device.copy_bytes_per_s = measure_copy(options);
    if (!graph.signature().parameters.empty()) {
        device.update_bytes_per_s = measure_update(graph, options);
    }
    return device;
}

}  // namespace fusionllm
