#include "fusionllm/exec/parameter_store.hpp"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace fusionllm {

ParameterStore::ParameterStore(const OpGraph& graph,
                               const std::vector<ParameterUse>& uses,
                               const FirstValues& first,
                               at::Device device)
    : uses_(uses) {
    for (const ParameterUse& use : uses_) {
        const Parameter& parameter =
            graph.signature().parameters.at(use.parameter);
        auto [held, is_new] = held_.try_emplace(use.parameter);
        if (is_new) {
            held->second.value =
                make_first_value(graph, parameter, first, device);
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
