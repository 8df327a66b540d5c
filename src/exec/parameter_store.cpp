#include "fusionllm/exec/parameter_store.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

namespace fusionllm {
namespace {

//! A number in (0, 1), never its ends: `log` of it is finite.
double to_open_unit(std::uint32_t word) {
    return (word + 0.5) * 0x1p-32;
}

//! Four numbers of the initializer's distribution, by Box and Muller if normal.
void draw(const Initializer& initializer,
          PhiloxBlock block,
          double (&numbers)[4]) {
    for (int i = 0; i < 4; ++i) {
        numbers[i] = to_open_unit(block.words[i]);
    }
    if (initializer.kind == Initializer::Kind::uniform) {
        for (double& number : numbers) {
            number = initializer.scale * (2 * number - 1);
        }
        return;
    }
    for (int i = 0; i < 4; i += 2) {
        const double radius =
            initializer.scale * std::sqrt(-2 * std::log(numbers[i]));
        const double angle = 2 * std::numbers::pi * numbers[i + 1];
        numbers[i] = radius * std::cos(angle);
        numbers[i + 1] = radius * std::sin(angle);
    }
}

}  // namespace

HostTensor initial_value(const OpGraph& graph,
                         const Parameter& parameter,
                         std::uint64_t seed) {
    HostTensor result{graph.value(parameter.value).type, {}};
    FUSIONLLM_VALIDATE(result.type.dtype == DType::f32,
                       "parameter '{}' is {}; only f32 parameters are trained",
                       parameter.name,
                       to_text(result.type));
    result.bytes.resize(num_bytes(result.type));
    auto* elements = reinterpret_cast<float*>(result.bytes.data());
    const auto count = static_cast<std::uint64_t>(num_elements(result.type));
    using Kind = Initializer::Kind;
    const Initializer& initializer = parameter.initializer;
    if (initializer.kind == Kind::zeros || initializer.kind == Kind::ones) {
        std::fill_n(
            elements, count, initializer.kind == Kind::ones ? 1.0f : 0.0f);
        return result;
    }
    const PhiloxKey key =
        make_philox_key(derive_key(seed, std::string_view(parameter.name)));
    for (std::uint64_t i = 0; i < count; i += 4) {
        const PhiloxBlock counter{{static_cast<std::uint32_t>(i / 4),
                                   static_cast<std::uint32_t>(i >> 34),
                                   0,
                                   0}};
        double numbers[4];
        draw(initializer, philox(counter, key), numbers);
        for (std::uint64_t k = 0; k < 4 && i + k < count; ++k) {
            elements[i + k] = static_cast<float>(numbers[k]);
        }
    }
    return result;
}

ParameterStore::ParameterStore(const OpGraph& graph,
                               const std::vector<ParameterUse>& uses,
                               std::uint64_t seed,
                               at::Device device)
    : uses_(uses) {
    for (const ParameterUse& use : uses_) {
        const Parameter& parameter =
            graph.signature().parameters.at(use.parameter);
        auto [held, is_new] = held_.try_emplace(use.parameter);
        if (is_new) {
            held->second.value =
                from_host(initial_value(graph, parameter, seed), device);
            indices_.push_back(use.parameter);
        }
        leaves_.push_back(held->second.value.detach().requires_grad_(true));
    }
    std::ranges::sort(indices_);
    gradients_.resize(uses_.size());
}

bool ParameterStore::has(std::size_t parameter) const {
    return held_.contains(parameter);
}

void ParameterStore::accumulate(std::size_t use, at::Tensor gradient) {
    if (!gradient.defined()) {
        return;
    }
    const at::NoGradGuard no_grad;
    at::Tensor& sum = gradients_.at(use);
    if (sum.defined()) {
        sum.add_(gradient);
    } else if (gradient.is_contiguous() && gradient.use_count() == 1 &&
               gradient.storage().use_count() == 1) {
        sum = std::move(gradient);
    } else {
        sum = gradient.clone(at::MemoryFormat::Contiguous);
    }
}

void ParameterStore::clear_gradients() {
    std::ranges::fill(gradients_, at::Tensor());
}

}  // namespace fusionllm
