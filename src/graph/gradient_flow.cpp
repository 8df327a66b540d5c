#include "gradient_flow.hpp"

#include <algorithm>
#include <array>
#include <ranges>
#include <string_view>

namespace fusionllm::detail {
namespace {

//! Ops whose floating-point output does not depend on the values they read.
bool stops_gradient(const Op& op) {
    constexpr std::array<std::string_view, 14> targets = {
        "fusionllm::dropout_mask",
        "aten::detach",
        "aten::zeros_like",
        "aten::ones_like",
        "aten::full_like",
        "aten::empty_like",
        "aten::rand_like",
        "aten::randn_like",
        "aten::new_zeros",
        "aten::new_ones",
        "aten::new_full",
        "aten::new_empty",
        "aten::bernoulli",
        "aten::one_hot"};
    return std::ranges::find(targets, op.target) != targets.end();
}

}  // namespace

std::vector<bool> find_gradients(const std::vector<Value>& values,
                                 const std::vector<Op>& ops,
                                 const GraphSignature& signature) {
    const auto is_float = [&](ValueId id) {
        return is_differentiable(values[id.get()].type.dtype);
    };
    std::vector<bool> depends(values.size(), false);
    for (const Parameter& parameter : signature.parameters) {
        depends[parameter.value.get()] = is_float(parameter.value);
    }
    const auto is_dependent = [&](ValueId id) { return depends[id.get()]; };
    for (const Op& op : ops) {
        if (!stops_gradient(op) &&
            std::ranges::any_of(used_values(op), is_dependent)) {
            for (const ValueId output : op.outputs) {
                depends[output.get()] = is_float(output);
            }
        }
    }
    std::vector<bool> has_gradient(values.size(), false);
    if (signature.loss && is_dependent(*signature.loss)) {
        has_gradient[signature.loss->get()] = true;
    }
    for (const Op& op : std::views::reverse(ops)) {
        const bool passes =
            !stops_gradient(op) &&
            std::ranges::any_of(op.outputs, [&](ValueId output) {
                return has_gradient[output.get()];
            });
        for (const ValueId value : used_values(op)) {
            if (passes && is_dependent(value)) {
                has_gradient[value.get()] = true;
            }
        }
    }
    return has_gradient;
}

}  // namespace fusionllm::detail
