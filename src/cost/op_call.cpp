#include "op_call.hpp"

#include <algorithm>

namespace fusionllm::detail {
namespace {

std::set<ValueId> distinct_arguments(const Op& op) {
    const auto used = used_values(op);
    return {used.begin(), used.end()};
}

}  // namespace

std::optional<ValueId> OpCall::value(std::size_t position) const {
    if (position >= op.arguments.size()) {
        return std::nullopt;
    }
    const auto* id = std::get_if<ValueId>(&op.arguments[position]);
    return id ? std::optional(*id) : std::nullopt;
}

bool OpCall::has_backward() const {
    return std::ranges::any_of(
        op.outputs, [this](ValueId id) { return graph.has_gradient(id); });
}

bool OpCall::has_gradient(std::optional<ValueId> id) const {
    return id && graph.has_gradient(*id);
}

double OpCall::elements(std::optional<ValueId> id) const {
    return id ? static_cast<double>(num_elements(type(*id))) : 0;
}

double OpCall::output_elements() const {
    return op.outputs.empty() ? 0 : elements(op.outputs.front());
}

bool OpCall::is_product() const {
    return row.work == Work::contraction || row.work == Work::convolution;
}

//! Multiply-adds per output element of a product.
double OpCall::inner() const {
    const auto first = value(row.factor);
    const auto second = value(row.factor + 1);
    if (!first || !second) {
        return 0;
    }
    if (row.work == Work::contraction) {
        const auto& sizes = type(*first).sizes;
        return sizes.empty() ? 1 : static_cast<double>(sizes.back());
    }
    // weight (out, in / groups, height, width)
    const auto& sizes = type(*second).sizes;
    return sizes.empty() || sizes.front() == 0
               ? 0
               : elements(second) / static_cast<double>(sizes.front());
}

double OpCall::work_flops() const {
    switch (row.work) {
        case Work::none:
            return 0;
        case Work::per_output:
            return row.flops * output_elements();
        case Work::per_input:
            return row.flops * elements(value(0));
        case Work::contraction:
        case Work::convolution:
            return row.flops * output_elements() * inner();
    }
    return 0;
}

//! The third tensor of a product, which is added to it.
std::optional<ValueId> OpCall::bias() const {
    return value(row.factor == 0 ? 2 : 0);
}

double OpCall::forward_flops() const {
    const bool has_bias = is_product() && bias();
    return work_flops() + (has_bias ? output_elements() : 0);
}

double OpCall::backward_flops() const {
    if (is_product()) {
        const int factors = has_gradient(value(row.factor)) +
                            has_gradient(value(row.factor + 1));
        return factors * work_flops() +
               (has_gradient(bias()) ? output_elements() : 0);
    }
    const auto num_gradients =
        std::ranges::count_if(distinct_arguments(op),
                              [this](ValueId id) { return has_gradient(id); });
    return work_flops() * static_cast<double>(num_gradients);
}

double OpCall::read_bytes() const {
    double bytes = 0;
    for (const ValueId id : distinct_arguments(op)) {
        bytes += static_cast<double>(num_bytes(type(id)));
    }
    return bytes;
}

double OpCall::written_bytes() const {
    double bytes = 0;
    for (const ValueId id : op.outputs) {
        bytes += static_cast<double>(num_bytes(type(id)));
    }
    return bytes;
}

double OpCall::bytes() const {
    switch (row.traffic) {
        case Traffic::dense:
        case Traffic::may_copy:
            return read_bytes() + written_bytes();
        case Traffic::view:
            return 0;
        case Traffic::gather: {
            const auto indices = value(1);
            return 2 * written_bytes() +
                   (indices ? static_cast<double>(num_bytes(type(*indices)))
                            : 0);
        }
        case Traffic::write_only:
            return written_bytes();
    }
    return 0;
}

double OpCall::stats_bytes() const {
    double row_elements = 1;
    if (op.arguments.size() > 1) {
        if (const auto* sizes =
                std::get_if<std::vector<std::int64_t>>(&op.arguments[1])) {
            for (const auto size : *sizes) {
                row_elements *= static_cast<double>(size);
            }
        }
    }
    constexpr double bytes_per_row = 2 * sizeof(float);
    return row_elements == 0
               ? 0
               : bytes_per_row * elements(value(0)) / row_elements;
}

}  // namespace fusionllm::detail
