#include "fusionllm/cost/workload.hpp"

#include <algorithm>

#include "fusionllm/util/error.hpp"

#include "op_call.hpp"

namespace fusionllm {
namespace {

using detail::CostRow;
using detail::OpCall;

//! Estimates the ops of a graph in canonical order, remembering what is kept.
class Estimator {
public:
    explicit Estimator(const OpGraph& graph)
        : graph_(graph), is_kept_(graph.values().size()) {
        for (std::size_t i = 0; i < graph.values().size(); ++i) {
            storage_.emplace_back(static_cast<std::uint32_t>(i));
        }
    }

    OpCost estimate(OpId id) {
        const Op& op = graph_.op(id);
        const CostRow* row = detail::find_cost_row(op.target);
        const CostRow unknown{.target = op.target, .keeps = detail::Keeps::all};
        const OpCall call(graph_, op, row ? *row : unknown);
        if (call.is_view()) {
            for (const ValueId output : op.outputs) {
                storage_[output.get()] = storage_of(*call.value(0));
            }
        }
        OpCost cost;
        cost.kind = call.kind();
        cost.is_estimated = row == nullptr;
        cost.has_backward = call.has_backward();
        cost.forward_flops = detail::forward_flops(call);
        cost.bytes = detail::forward_bytes(call);
        cost.output_bytes = detail::written_bytes(call);
        for (const ValueId read : call.reads()) {
            const double bytes =
                graph_.parameter_index(read) ? call.bytes(read) : 0;
            cost.parameter_bytes += bytes;
            cost.accumulated_bytes += call.has_gradient(read) ? bytes : 0;
        }
        if (cost.has_backward) {
            cost.backward_flops = detail::backward_flops(call);
            cost.backward_bytes = detail::backward_bytes(call, id);
            cost.saved_bytes = keep(call);
        }
        return cost;
    }

private:
    ValueId storage_of(ValueId id) const { return storage_[id.get()]; }

    //! Bytes that the op keeps and that nothing before it kept.
    double keep(const OpCall& call) {
        const detail::Kept kept = detail::find_kept(call);
        double bytes = kept.own_bytes;
        for (const ValueId id : kept.values) {
            const ValueId storage = storage_of(id);
            if (!graph_.parameter_index(storage) && !is_kept_[storage.get()]) {
                is_kept_[storage.get()] = true;
                bytes += call.bytes(storage);
            }
        }
        return bytes;
    }

    const OpGraph& graph_;
    std::vector<ValueId> storage_;  // by value: what it is a view of, or itself
    std::vector<bool> is_kept_;     // by value
};

}  // namespace

Workload estimate_workload(const OpGraph& graph) {
    Estimator estimator(graph);
    Workload workload;
    workload.ops.reserve(graph.ops().size());
    for (std::size_t i = 0; i < graph.ops().size(); ++i) {
        workload.ops.push_back(
            estimator.estimate(OpId(static_cast<std::uint32_t>(i))));
    }
    return workload;
}

void check_workload(const OpGraph& graph, const Workload& workload) {
    FUSIONLLM_VALIDATE(graph.ops().size() == workload.ops.size(),
                       "a workload of {} ops does not belong to graph '{}', "
                       "which has {}; estimate the workload of this graph",
                       workload.ops.size(),
                       graph.name(),
                       graph.ops().size());
}

std::vector<std::string> ops_without_row(const OpGraph& graph,
                                         const Workload& workload) {
    check_workload(graph, workload);
    std::vector<std::string> targets;
    for (std::size_t i = 0; i < workload.ops.size(); ++i) {
        if (workload.ops[i].is_estimated) {
            targets.push_back(graph.ops()[i].target);
        }
    }
    std::ranges::sort(targets);
    targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
    return targets;
}

}  // namespace fusionllm
