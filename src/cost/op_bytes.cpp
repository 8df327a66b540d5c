#include <algorithm>

#include "op_call.hpp"

namespace fusionllm::detail {
namespace {

//! Bytes of the values after the first argument: indices, masks.
double rest_bytes(const OpCall& call) {
    double bytes = 0;
    for (const ValueId id : call.reads()) {
        bytes += id == call.value(0) ? 0 : call.bytes(id);
    }
    return bytes;
}

//! A row of the table for each index.
double row_bytes(const OpCall& call) {
    const auto table = call.value(0);
    const auto indices = call.value(1);
    if (!table || !indices || call.type(*table).sizes.empty() ||
        call.type(*table).sizes.front() == 0) {
        return 0;
    }
    return call.elements(indices) * call.bytes(*table) /
           static_cast<double>(call.type(*table).sizes.front());
}

//! Mean and deviation of so many sets of elements.
double stats_bytes(double num_sets) {
    return 2 * sizeof(float) * num_sets;
}

double size_of_dim(const OpCall& call, std::size_t dim) {
    const auto input = call.value(0);
    if (!input || dim >= call.type(*input).sizes.size()) {
        return 1;
    }
    return static_cast<double>(call.type(*input).sizes[dim]);
}

//! Rows that a layer norm normalises: the sizes of one are its 2nd argument.
double num_rows(const OpCall& call) {
    double row_elements = 1;
    const auto& arguments = call.op().arguments;
    if (arguments.size() > 1) {
        if (const auto* sizes =
                std::get_if<std::vector<std::int64_t>>(&arguments[1])) {
            for (const auto size : *sizes) {
                row_elements *= static_cast<double>(size);
            }
        }
    }
    return row_elements == 0 ? 0 : call.elements(call.value(0)) / row_elements;
}

//! Groups of a group norm, or of its native form (x, w, b, N, C, HxW, groups).
double num_groups(const OpCall& call) {
    constexpr std::size_t position = 1;
    constexpr std::size_t native_position = 6;
    const auto& arguments = call.op().arguments;
    for (const std::size_t i : {position, native_position}) {
        if (i < arguments.size()) {
            if (const auto* groups = std::get_if<std::int64_t>(&arguments[i])) {
                return static_cast<double>(*groups);
            }
        }
    }
    return 1;
}

void keep(Kept& kept, std::optional<ValueId> id) {
    if (id) {
        kept.values.push_back(*id);
    }
}

void keep_outputs(Kept& kept, const OpCall& call, std::size_t first) {
    const auto& outputs = call.op().outputs;
    for (std::size_t i = first; i < outputs.size(); ++i) {
        kept.values.push_back(outputs[i]);
    }
}

Kept keep_factors(const OpCall& call) {
    Kept kept;
    const auto first = call.value(call.row().position);
    const auto second = call.value(call.row().position + 1);
    if (call.has_gradient(second)) {
        keep(kept, first);
    }
    if (call.has_gradient(first)) {
        keep(kept, second);
    }
    return kept;
}

//! Where an op with several outputs chose; one with one compares them again.
Kept keep_indices(const OpCall& call) {
    Kept kept;
    if (call.op().outputs.size() > 1) {
        keep_outputs(kept, call, 1);
    } else {
        keep(kept, call.value(0));
        keep_outputs(kept, call, 0);
    }
    return kept;
}

Kept keep_stats(const OpCall& call, double num_sets) {
    Kept kept;
    keep(kept, call.value(0));
    kept.own_bytes = stats_bytes(num_sets);
    return kept;
}

Kept keep_attention(const OpCall& call) {
    Kept kept;
    for (const std::size_t i : {0, 1, 2}) {
        keep(kept, call.value(i));
    }
    if (const auto query = call.value(0)) {
        kept.values.push_back(call.op().outputs.front());
        const auto& sizes = call.type(*query).sizes;
        kept.own_bytes = sizes.empty() || sizes.back() == 0
                             ? 0
                             : sizeof(float) * call.elements(query) /
                                   static_cast<double>(sizes.back());
    }
    return kept;
}

//! Input, and the result of every product: rows x sizes of the matrices.
Kept keep_recurrence(const OpCall& call) {
    Kept kept;
    const auto input = call.value(0);
    if (!input || call.type(*input).sizes.empty()) {
        return kept;
    }
    keep(kept, input);
    const double rows =
        call.elements(input) / static_cast<double>(std::max<std::int64_t>(
                                   call.type(*input).sizes.back(), 1));
    for (const ValueId id : call.reads()) {
        const auto& sizes = call.type(id).sizes;
        if (id != *input && sizes.size() == 2) {
            kept.own_bytes +=
                sizeof(float) * rows * static_cast<double>(sizes.front());
        }
    }
    return kept;
}

double product_backward_bytes(const OpCall& call) {
    const std::size_t position = call.row().position;
    const auto first = call.value(position);
    const auto second = call.value(position + 1);
    if (!first || !second) {
        return 0;
    }
    // Each: gradient of the output and the other factor in, own gradient out.
    const int num_gradients =
        call.has_gradient(first) + call.has_gradient(second);
    double bytes = num_gradients * (written_bytes(call) + call.bytes(*first) +
                                    call.bytes(*second));
    if (call.has_gradient(call.bias())) {
        bytes += written_bytes(call) + call.bytes(*call.bias());
    }
    return bytes;
}

//! Where an argument was broadcast, its gradient is a sum.
double pass_on_bytes(const OpCall& call) {
    double bytes = 0;
    for (const ValueId id : call.reads()) {
        const bool is_summed =
            call.type(id).sizes != call.type(call.op().outputs.front()).sizes;
        bytes += call.has_gradient(id) && is_summed
                     ? written_bytes(call) + call.bytes(id)
                     : 0;
    }
    return bytes;
}

//! A value's other users, which come first backward, gave a gradient already:
//! read both, write.
double addition_bytes(const OpCall& call, OpId op) {
    constexpr double passes = 3;
    double bytes = 0;
    for (const ValueId id : call.reads()) {
        const bool is_added = call.has_gradient(id) &&
                              !call.graph().parameter_index(id) &&
                              call.graph().users(id).back() != op;
        bytes += is_added ? passes * call.bytes(id) : 0;
    }
    return bytes;
}

double own_backward_bytes(const OpCall& call) {
    if (call.kind() == OpKind::view) {
        return 0;
    }
    if (call.is_product()) {
        return product_backward_bytes(call);
    }
    if (call.row().traffic == Traffic::pass_on) {
        return pass_on_bytes(call);
    }
    double bytes = 0;
    for (const ValueId id : call.op().outputs) {
        bytes += call.has_gradient(id) ? call.bytes(id) : 0;
    }
    const Kept kept = find_kept(call);
    for (const ValueId id : kept.values) {
        bytes += call.bytes(id);
    }
    for (const ValueId id : call.reads()) {
        bytes += call.has_gradient(id) ? call.bytes(id) : 0;
    }
    return bytes + kept.own_bytes;
}

}  // namespace

double read_bytes(const OpCall& call) {
    double bytes = 0;
    for (const ValueId id : call.reads()) {
        bytes += call.bytes(id);
    }
    return bytes;
}

double written_bytes(const OpCall& call) {
    double bytes = 0;
    for (const ValueId id : call.op().outputs) {
        bytes += call.bytes(id);
    }
    return bytes;
}

double forward_bytes(const OpCall& call) {
    switch (call.row().traffic) {
        case Traffic::dense:
        case Traffic::pass_on:
        case Traffic::may_copy:
            return read_bytes(call) + written_bytes(call);
        case Traffic::part:
            return call.is_view() ? 0 : 2 * written_bytes(call);
        case Traffic::view:
            return 0;
        case Traffic::gather:
            return 2 * written_bytes(call) + rest_bytes(call);
        case Traffic::rows:
            return row_bytes(call) + written_bytes(call) + rest_bytes(call);
        case Traffic::write_only:
            return written_bytes(call);
    }
    return 0;
}

double backward_bytes(const OpCall& call, OpId op) {
    return own_backward_bytes(call) + addition_bytes(call, op);
}

Kept find_kept(const OpCall& call) {
    Kept kept;
    const auto input = call.value(0);
    switch (call.row().keeps) {
        case Keeps::nothing:
            break;
        case Keeps::input:
            keep(kept, input);
            break;
        case Keeps::second:
            keep(kept, call.value(1));
            break;
        case Keeps::rest:
            kept.values = call.reads();
            std::erase_if(kept.values, [&](ValueId id) { return id == input; });
            break;
        case Keeps::all:
            kept.values = call.reads();
            break;
        case Keeps::output:
            keep_outputs(kept, call, 0);
            break;
        case Keeps::indices:
            return keep_indices(call);
        case Keeps::both:
            keep(kept, input);
            keep_outputs(kept, call, 0);
            break;
        case Keeps::factors:
            return keep_factors(call);
        case Keeps::row_stats:
            return keep_stats(call, num_rows(call));
        case Keeps::group_stats:
            return keep_stats(call, size_of_dim(call, 0) * num_groups(call));
        case Keeps::channel_stats:
            return keep_stats(call, size_of_dim(call, 1));
        case Keeps::instance_stats:
            return keep_stats(call,
                              size_of_dim(call, 0) * size_of_dim(call, 1));
        case Keeps::loss:
            keep(kept, call.value(1));
            kept.own_bytes = input ? call.bytes(*input) : 0;
            break;
        case Keeps::noise:
            kept.own_bytes = input ? call.bytes(*input) : 0;
            break;
        case Keeps::positions:
            keep(kept, input);
            kept.own_bytes = sizeof(std::int64_t) * call.output_elements();
            break;
        case Keeps::attention:
            return keep_attention(call);
        case Keeps::recurrence:
            return keep_recurrence(call);
    }
    return kept;
}

}  // namespace fusionllm::detail
