#include "fusionllm/plan/cost_model.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "fusionllm/graph/buffer_updates.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/wire/message_header.hpp"

namespace fusionllm {
namespace {

constexpr double free_of_cost = std::numeric_limits<double>::infinity();
// Encoding a dense message reads the tensor and writes the buffer; decoding
// does the same the other way.
constexpr double copy_passes = 2;
// An update reads and writes the value, reads the gradient for its norm and for
// the update, and clears it; each 4 bytes of state are read and written.
constexpr double plain_passes = 5;
constexpr double adamw_passes = 9;
constexpr int no_limit = 1 << 20;

//! The rate of the device, or that of so many passes over its memory.
double rate(const DeviceKind& kind, double measured, double passes) {
    if (measured > 0) {
        return measured;
    }
    return kind.memory_bandwidth_bytes_per_s > 0
               ? kind.memory_bandwidth_bytes_per_s / passes
               : free_of_cost;
}

double difference(const std::vector<double>& before, OpRange ops) {
    return before[ops.end] - before[ops.begin];
}

}  // namespace

CostModel::CostModel(const OpGraph& graph,
                     const Workload& workload,
                     const Topology& topology,
                     double state_bytes)
    : network_(topology),
      kinds_(topology.kinds),
      state_bytes_(state_bytes),
      can_cut_(find_cuttable(graph)) {
    FUSIONLLM_EXPECTS(workload.ops.size() == graph.ops().size());
    flops_before_.push_back(0);
    saved_before_.push_back(0);
    std::vector<double> outputs;
    for (const OpCost& cost : workload.ops) {
        flops_before_.push_back(flops_before_.back() + cost.forward_flops +
                                cost.backward_flops);
        saved_before_.push_back(saved_before_.back() + cost.saved_bytes);
        outputs.push_back(cost.output_bytes);
    }
    output_max_.push_back(std::move(outputs));
    for (std::size_t width = 1; 2 * width <= workload.ops.size(); width *= 2) {
        const std::vector<double>& last = output_max_.back();
        std::vector<double> next;
        for (std::size_t i = 0; i + width < last.size(); ++i) {
            next.push_back(std::max(last[i], last[i + width]));
        }
        output_max_.push_back(std::move(next));
    }
    for (const Device& device : topology.devices) {
        kind_of_device_.push_back(device.kind);
    }
    add_parameters(graph);
    add_inputs(graph);
    add_cuts(graph);
    add_values(graph);
    for (const DeviceKind& kind : kinds_) {
        add_kind(graph, workload, kind);
    }
}

CostModel CostModel::with(Recompute recompute) const {
    CostModel model = *this;
    model.recompute_ = recompute;
    return model;
}

CostModel CostModel::with(OpSupport support) const {
    CostModel model = *this;
    model.support_ = std::move(support);
    return model;
}

void CostModel::add_inputs(const OpGraph& graph) {
    inputs_before_.assign(graph.ops().size() + 1, 0);
    for (const ValueId input : graph.signature().inputs) {
        for (const OpId user : graph.users(input)) {
            inputs_before_[user.get() + 1] +=
                static_cast<double>(num_bytes(graph.value(input).type));
        }
    }
    for (std::size_t i = 0; i < graph.ops().size(); ++i) {
        inputs_before_[i + 1] += inputs_before_[i];
    }
}

void CostModel::add_parameters(const OpGraph& graph) {
    const std::size_t num_ops = graph.ops().size();
    elements_before_.assign(num_ops + 1, 0);
    bytes_before_.assign(num_ops + 1, 0);
    const auto& parameters = graph.signature().parameters;
    for (std::size_t p = 0; p < parameters.size(); ++p) {
        const TensorType& type = graph.value(parameters[p].value).type;
        SharedUses uses{{},
                        static_cast<double>(num_bytes(type)),
                        static_cast<double>(num_elements(type))};
        for (const ParameterUse& use : uses_of_parameter(graph, p)) {
            uses.ops.push_back(use.op.get());
        }
        if (uses.ops.size() == 1) {
            elements_before_[uses.ops.front() + 1] += uses.elements;
            bytes_before_[uses.ops.front() + 1] += uses.bytes;
        } else if (!uses.ops.empty()) {
            shared_.push_back(std::move(uses));
        }
    }
    for (std::size_t i = 0; i < num_ops; ++i) {
        elements_before_[i + 1] += elements_before_[i];
        bytes_before_[i + 1] += bytes_before_[i];
    }
}

void CostModel::add_cuts(const OpGraph& graph) {
    // Every value crosses the cuts after its op up to its last user, so the
    // bytes of all cuts are the running sum of what begins and ends at each.
    cuts_.assign(graph.ops().size() + 1, {});
    std::vector<CutCost> steps(graph.ops().size() + 2);
    for (std::size_t v = 0; v < graph.values().size(); ++v) {
        const ValueId id(static_cast<std::uint32_t>(v));
        const auto producer = graph.producer(id);
        if (!producer || graph.users(id).empty()) {
            continue;
        }
        const std::size_t begin = producer->get() + 1;
        const std::size_t end = graph.users(id).back().get() + 1;
        const auto bytes =
            static_cast<double>(dense_message_bytes(graph.value(id).type));
        const double gradient_bytes = graph.has_gradient(id) ? bytes : 0;
        steps[begin].forward_bytes += bytes;
        steps[end].forward_bytes -= bytes;
        steps[begin].backward_bytes += gradient_bytes;
        steps[end].backward_bytes -= gradient_bytes;
    }
    CutCost now;
    for (std::size_t i = 0; i < cuts_.size(); ++i) {
        now.forward_bytes += steps[i].forward_bytes;
        now.backward_bytes += steps[i].backward_bytes;
        cuts_[i] = now;
    }
}

void CostModel::add_values(const OpGraph& graph) {
    std::vector<std::vector<CutValue>> begins(cuts_.size() + 1);
    std::vector<std::size_t> end_of_value(graph.values().size(), 0);
    for (std::size_t v = 0; v < graph.values().size(); ++v) {
        const ValueId id(static_cast<std::uint32_t>(v));
        const auto producer = graph.producer(id);
        if (graph.users(id).empty() || !is_compressible(graph, id)) {
            continue;
        }
        const MatrixShape shape = shape_of(graph, id);
        const auto known = std::ranges::find(shapes_, shape);
        begins[producer->get() + 1].push_back(
            {id, static_cast<std::uint32_t>(known - shapes_.begin())});
        if (known == shapes_.end()) {
            shapes_.push_back(shape);
        }
        end_of_value[v] = graph.users(id).back().get() + 1;
    }
    std::vector<CutValue> now;
    for (std::size_t i = 0; i < cuts_.size(); ++i) {
        first_value_.push_back(cut_values_.size());
        std::erase_if(now, [&](const CutValue& value) {
            return end_of_value[value.value.get()] <= i;
        });
        for (const CutValue& value : begins[i]) {
            if (end_of_value[value.value.get()] > i) {
                now.push_back(value);
            }
        }
        std::ranges::sort(now, {}, &CutValue::value);
        cut_values_.insert(cut_values_.end(), now.begin(), now.end());
    }
    first_value_.push_back(cut_values_.size());
}

void CostModel::add_kind(const OpGraph& graph,
                         const Workload& workload,
                         const DeviceKind& kind) {
    KindSums sums;
    sums.forward_before.push_back(0);
    sums.backward_before.push_back(0);
    for (const OpSeconds& op : estimate_op_seconds(graph, workload, kind)) {
        sums.forward_before.push_back(sums.forward_before.back() +
                                      op.forward_s);
        sums.backward_before.push_back(sums.backward_before.back() +
                                       op.backward_s);
    }
    sums.copy_bytes_per_s = rate(kind, kind.copy_bytes_per_s, copy_passes);
    sums.update_bytes_per_s = rate(kind, kind.update_bytes_per_s, adamw_passes);
    constexpr auto products = static_cast<std::size_t>(OpKind::contraction);
    sums.product_flops_per_s =
        kind.flops_per_s * kind.forward_efficiency[products];
    sums_.push_back(std::move(sums));
}

double CostModel::codec_s(DeviceId device, const CodecWork& work) const {
    const KindSums& sums = sums_[kind_of_device_[device.get()]];
    return work.copied_bytes / sums.copy_bytes_per_s +
           (work.flops > 0 ? work.flops / sums.product_flops_per_s : 0);
}

double CostModel::forward_s(DeviceId device, OpRange ops) const {
    const KindSums& sums = sums_[kind_of_device_[device.get()]];
    return difference(sums.forward_before, ops) +
           (cuts_[ops.begin].forward_bytes + cuts_[ops.end].forward_bytes) /
               sums.copy_bytes_per_s;
}

double CostModel::backward_s(DeviceId device, OpRange ops) const {
    const KindSums& sums = sums_[kind_of_device_[device.get()]];
    const double again_s =
        recompute_ == Recompute::on ? difference(sums.forward_before, ops) : 0;
    return again_s + difference(sums.backward_before, ops) +
           (cuts_[ops.begin].backward_bytes + cuts_[ops.end].backward_bytes) /
               sums.copy_bytes_per_s;
}

template <class Function>
void CostModel::for_each_shared(OpRange ops, Function function) const {
    for (const SharedUses& uses : shared_) {
        const auto first = std::ranges::lower_bound(uses.ops, ops.begin);
        const auto last = std::ranges::lower_bound(uses.ops, ops.end);
        if (first != last) {
            function(uses, static_cast<double>(last - first));
        }
    }
}

double CostModel::update_s(DeviceId device, OpRange ops) const {
    double bytes = difference(bytes_before_, ops);
    for_each_shared(
        ops, [&](const SharedUses& uses, double) { bytes += uses.bytes; });
    const double passes = plain_passes + state_bytes_ / 2;
    return bytes * passes / adamw_passes /
           sums_[kind_of_device_[device.get()]].update_bytes_per_s;
}

double CostModel::largest_output(OpRange ops) const {
    const auto level = static_cast<std::size_t>(std::bit_width(ops.size())) - 1;
    const std::vector<double>& row = output_max_[level];
    return std::max(row[ops.begin], row[ops.end - (std::size_t{1} << level)]);
}

double CostModel::fixed_memory_bytes(OpRange ops) const {
    const double kept = kept_bytes(ops);
    return (recompute_ == Recompute::on ? kept : kept - saved_bytes(ops)) +
           2 * (cuts_[ops.begin].forward_bytes + cuts_[ops.end].forward_bytes) +
           2 * largest_output(ops);
}

double CostModel::kept_bytes(OpRange ops) const {
    double bytes = 2 * difference(bytes_before_, ops) +
                   state_bytes_ * difference(elements_before_, ops);
    for_each_shared(ops, [&](const SharedUses& uses, double num_uses) {
        bytes += (1 + num_uses) * uses.bytes + state_bytes_ * uses.elements;
    });
    return bytes + saved_bytes(ops);
}

double CostModel::in_flight_bytes(OpRange ops) const {
    return recompute_ == Recompute::on ? cuts_[ops.begin].forward_bytes +
                                             difference(inputs_before_, ops)
                                       : saved_bytes(ops);
}

double CostModel::memory_bytes(OpRange ops, int in_flight) const {
    return fixed_memory_bytes(ops) + in_flight * in_flight_bytes(ops);
}

std::size_t CostModel::most_stages() const {
    // The ends of the graph are two positions more.
    return static_cast<std::size_t>(std::ranges::count(can_cut_, true)) - 1;
}

int CostModel::max_in_flight(DeviceId device, OpRange ops) const {
    if (!can_cut(ops.begin) || !can_cut(ops.end) ||
        !support_.can_run(device, ops)) {
        return 0;
    }
    const double memory = kind_of(device).memory_bytes;
    if (memory <= 0) {
        return no_limit;
    }
    const double room = memory - fixed_memory_bytes(ops);
    const double one = in_flight_bytes(ops);
    if (room < 0) {
        return 0;
    }
    return one * no_limit <= room ? no_limit : static_cast<int>(room / one);
}

std::int64_t CostModel::parameters(OpRange ops) const {
    double elements = difference(elements_before_, ops);
    for_each_shared(ops, [&](const SharedUses& uses, double) {
        elements += uses.elements;
    });
    return std::llround(elements);
}

const MatrixShape& CostModel::shape_of_fence(const Fence& fence) const {
    const auto values = values_at(fence.cut);
    const auto found =
        std::ranges::lower_bound(values, fence.value, {}, &CutValue::value);
    FUSIONLLM_EXPECTS(found != values.end() && found->value == fence.value);
    return shapes_[found->shape];
}

void CostModel::add_fence(const Placement& placement,
                          const Fence& fence,
                          StepCosts& costs) const {
    const auto& stages = placement.stages;
    const MatrixShape& shape = shape_of_fence(fence);
    // The stage that the cut ends, or the one that it is in.
    const auto s = static_cast<std::size_t>(
        std::ranges::lower_bound(
            stages, fence.cut, {}, [](const auto& x) { return x.ops.end; }) -
        stages.begin());
    const bool is_inside = stages[s].ops.end != fence.cut;
    const std::size_t t = is_inside ? s : s + 1;
    const DeviceId sender = stages[s].devices.at(0);
    const DeviceId receiver = stages[t].devices.at(0);
    const auto forward = Direction::forward;
    const auto backward = Direction::backward;
    costs.stages[s].forward_s +=
        codec_s(sender, encode_work(fence.codec, shape, forward));
    costs.stages[t].forward_s +=
        codec_s(receiver, decode_work(fence.codec, shape, forward));
    costs.stages[t].backward_s +=
        codec_s(receiver, encode_work(fence.codec, shape, backward));
    costs.stages[s].backward_s +=
        codec_s(sender, decode_work(fence.codec, shape, backward));
    if (is_inside) {
        return;
    }
    // In place of the dense messages and their copies.
    const CodecPair pair = resolve(fence.codec, shape);
    const auto dense = static_cast<double>(header_bytes + 4 * shape.size());
    for (StageSeconds* stage : {&costs.stages[s], &costs.stages[t]}) {
        const DeviceId device = stage == &costs.stages[s] ? sender : receiver;
        const double copy_s = codec_s(device, {dense, 0});
        stage->forward_s -= copy_s;
        stage->backward_s -= copy_s;
    }
    costs.forward[s].bytes[0] +=
        static_cast<double>(encoded_message_bytes(pair.forward, shape)) - dense;
    costs.backward[s].bytes[0] +=
        static_cast<double>(encoded_message_bytes(pair.backward, shape)) -
        dense;
}

StepCosts CostModel::step_costs(const Placement& placement) const {
    return step_costs(placement, {});
}

StepCosts CostModel::step_costs(const Placement& placement,
                                std::span<const Fence> fences) const {
    StepCosts costs;
    const auto& stages = placement.stages;
    for (std::size_t s = 0; s < stages.size(); ++s) {
        const DeviceId device = stages[s].devices.at(0);
        const OpRange ops = stages[s].ops;
        costs.stages.push_back({forward_s(device, ops),
                                backward_s(device, ops),
                                update_s(device, ops)});
        if (s + 1 < stages.size()) {
            const DeviceId next = stages[s + 1].devices.at(0);
            const CutCost& cut = cuts_[ops.end];
            costs.forward.push_back({device, next, {cut.forward_bytes}});
            costs.backward.push_back({next, device, {cut.backward_bytes}});
        }
    }
    for (const Fence& fence : fences) {
        add_fence(placement, fence, costs);
    }
    add_exchange(placement, costs);
    return costs;
}

void CostModel::add_exchange(const Placement& placement,
                             StepCosts& costs) const {
    const auto& stages = placement.stages;
    const auto stage_of = [&](std::size_t op) {
        return std::ranges::upper_bound(
                   stages, op, {}, [](const auto& s) { return s.ops.end; }) -
               stages.begin();
    };
    for (const SharedUses& uses : shared_) {
        std::vector<std::ptrdiff_t> holders;
        std::vector<double> num_uses;
        for (const std::size_t op : uses.ops) {
            const auto stage = stage_of(op);
            if (holders.empty() || holders.back() != stage) {
                holders.push_back(stage);
                num_uses.push_back(0);
            }
            ++num_uses.back();
        }
        for (std::size_t a = 0; a < holders.size(); ++a) {
            for (const std::ptrdiff_t b : holders) {
                if (holders[a] != b) {
                    const auto s = static_cast<std::size_t>(holders[a]);
                    const auto t = static_cast<std::size_t>(b);
                    costs.parameter_gradients.push_back(
                        {stages[s].devices.at(0),
                         stages[t].devices.at(0),
                         {num_uses[a] * (uses.bytes + header_bytes)}});
                }
            }
        }
    }
}

}  // namespace fusionllm
