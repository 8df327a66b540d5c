#include "fusionllm/cost/op_seconds.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

constexpr double copy_passes = 2;        // read, write
constexpr double accumulate_passes = 3;  // read both, write
constexpr double update_passes = 22;     // of AdamW's separate loops

std::size_t position(OpKind kind) {
    return static_cast<std::size_t>(kind);
}

void append(std::string& text, std::int64_t number) {
    char digits[24];
    const auto end =
        std::to_chars(std::begin(digits), std::end(digits), number).ptr;
    text.append(digits, end);
}

void append(std::string& text, const TensorType& type) {
    text += ' ';
    text += to_text(type.dtype);
    text += '[';
    for (std::size_t i = 0; i < type.sizes.size(); ++i) {
        if (i > 0) {
            text += ',';
        }
        append(text, type.sizes[i]);
    }
    text += ']';
}

void append_argument(std::string& text,
                     const OpGraph& graph,
                     const Argument& argument) {
    if (const auto* id = std::get_if<ValueId>(&argument)) {
        append(text, graph.value(*id).type);
    } else if (const auto* list =
                   std::get_if<std::vector<ValueOrNone>>(&argument)) {
        for (const ValueOrNone& value : *list) {
            if (const auto* id = std::get_if<ValueId>(&value)) {
                append(text, graph.value(*id).type);
            }
        }
    }
}

//! Into a text that is used again: a plan asks for hundreds of thousands.
void write_signature(std::string& text, const OpGraph& graph, const Op& op) {
    text = op.target;
    for (const Argument& argument : op.arguments) {
        append_argument(text, graph, argument);
    }
    text += " ->";
    for (const ValueId output : op.outputs) {
        append(text, graph.value(output).type);
    }
}

//! Measured ops by signature; asked for an op, finds its own.
class Measurements {
public:
    explicit Measurements(const DeviceKind& device) {
        for (const MeasuredOp& op : device.measured) {
            const std::string_view signature = op.signature;
            targets_.insert(signature.substr(0, signature.find(' ')));
            by_signature_[signature] = &op;
        }
    }

    const MeasuredOp* find(const OpGraph& graph, const Op& op) {
        if (!targets_.contains(op.target)) {
            return nullptr;
        }
        write_signature(text_, graph, op);
        const auto found = by_signature_.find(text_);
        return found == by_signature_.end() ? nullptr : found->second;
    }

private:
    std::unordered_set<std::string_view> targets_;
    std::unordered_map<std::string_view, const MeasuredOp*> by_signature_;
    std::string text_;
};

bool has_half_outputs(const OpGraph& graph, const Op& op) {
    if (op.outputs.empty()) {
        return false;
    }
    const DType dtype = graph.value(op.outputs.front()).type.dtype;
    return dtype == DType::f16 || dtype == DType::bf16;
}

//! Bytes move at this rate, or for nothing.
double seconds_of_bytes(double bytes, double efficiency, double bandwidth) {
    return bandwidth > 0 ? bytes / (efficiency * bandwidth) : 0;
}

//! The formula of `estimate_op_seconds`, for one direction.
double formula_s(const DeviceKind& device,
                 double peak,
                 double efficiency,
                 double flops,
                 double bytes) {
    return device.op_overhead_s +
           std::max(
               flops / (efficiency * peak),
               seconds_of_bytes(
                   bytes, efficiency, device.memory_bandwidth_bytes_per_s));
}

OpSeconds estimate_at_peak(const OpCost& cost,
                           double peak,
                           const DeviceKind& device) {
    const std::size_t kind = position(cost.kind);
    OpSeconds seconds;
    seconds.forward_s = formula_s(device,
                                  peak,
                                  device.forward_efficiency[kind],
                                  cost.forward_flops,
                                  cost.bytes);
    if (cost.has_backward) {
        seconds.backward_s = formula_s(device,
                                       peak,
                                       device.backward_efficiency[kind],
                                       cost.backward_flops,
                                       cost.backward_bytes);
    }
    return seconds;
}

OpSeconds estimate_op(const OpGraph& graph,
                      const Op& op,
                      const OpCost& cost,
                      const DeviceKind& device) {
    const bool is_half =
        device.half_flops_per_s > 0 && has_half_outputs(graph, op);
    return estimate_at_peak(
        cost, is_half ? device.half_flops_per_s : device.flops_per_s, device);
}

void check(const DeviceKind& device) {
    const auto is_positive = [](double share) { return share > 0; };
    FUSIONLLM_VALIDATE(
        device.flops_per_s > 0,
        "device kind '{}' has a peak of {} flop/s; give it its peak, e.g. "
        "fp32 = \"19.5 Tflop/s\"",
        device.name,
        device.flops_per_s);
    FUSIONLLM_VALIDATE(
        std::ranges::all_of(device.forward_efficiency, is_positive) &&
            std::ranges::all_of(device.backward_efficiency, is_positive),
        "device kind '{}' has an efficiency that is not above 0; give the "
        "share of the peak that ops reach, e.g. 0.5",
        device.name);
}

}  // namespace

std::vector<OpSeconds> estimate_op_seconds(const OpGraph& graph,
                                           const Workload& workload,
                                           const DeviceKind& device) {
    check(device);
    check_workload(graph, workload);
    Measurements measured(device);
    std::vector<OpSeconds> result;
    result.reserve(graph.ops().size());
    for (std::size_t i = 0; i < graph.ops().size(); ++i) {
        const Op& op = graph.ops()[i];
        const OpCost& cost = workload.ops[i];
        const MeasuredOp* own = measured.find(graph, op);
        OpSeconds seconds = own ? OpSeconds{own->forward_s, own->backward_s}
                                : estimate_op(graph, op, cost, device);
        if (cost.has_backward) {
            seconds.backward_s +=
                estimate_accumulate_s(cost.accumulated_bytes, device);
        } else {
            seconds.backward_s = 0;
        }
        result.push_back(seconds);
    }
    return result;
}

OpSeconds estimate_by_formula(const OpCost& cost, const DeviceKind& device) {
    check(device);
    return estimate_at_peak(cost, device.flops_per_s, device);
}

double estimate_accumulate_s(double bytes, const DeviceKind& device) {
    return seconds_of_bytes(
        accumulate_passes * bytes,
        device.forward_efficiency[position(OpKind::elementwise)],
        device.memory_bandwidth_bytes_per_s);
}

double estimate_copy_s(double bytes, const DeviceKind& device) {
    if (device.copy_bytes_per_s > 0) {
        return bytes / device.copy_bytes_per_s;
    }
    return seconds_of_bytes(copy_passes * bytes,
                            device.forward_efficiency[position(OpKind::copy)],
                            device.memory_bandwidth_bytes_per_s);
}

double estimate_update_s(double parameter_bytes, const DeviceKind& device) {
    if (device.update_bytes_per_s > 0) {
        return parameter_bytes / device.update_bytes_per_s;
    }
    return seconds_of_bytes(
        update_passes * parameter_bytes,
        device.forward_efficiency[position(OpKind::elementwise)],
        device.memory_bandwidth_bytes_per_s);
}

std::string op_signature(const OpGraph& graph, const Op& op) {
    std::string text;
    write_signature(text, graph, op);
    return text;
}

}  // namespace fusionllm
