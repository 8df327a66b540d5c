#include "fusionllm/cost/workload.hpp"

#include <optional>
#include <set>

#include "op_call.hpp"

namespace fusionllm {
namespace {

using detail::CostRow;
using detail::Keeps;
using detail::OpCall;
using detail::Traffic;

//! Estimates the ops of a graph in canonical order, remembering what is kept.
class Estimator {
public:
    explicit Estimator(const OpGraph& graph) : graph_(graph) {
        for (std::size_t i = 0; i < graph.values().size(); ++i) {
            storage_.emplace_back(static_cast<std::uint32_t>(i));
        }
    }

    OpCost estimate(const Op& op) {
        const CostRow* row = detail::find_cost_row(op.target);
        const CostRow unknown{.target = op.target};
        const OpCall call{graph_, op, row ? *row : unknown};
        if (is_view(call)) {
            for (const ValueId output : op.outputs) {
                storage_[output.get()] = storage_of(*call.value(0));
            }
        }
        OpCost cost;
        cost.is_estimated = row == nullptr;
        cost.forward_flops = call.forward_flops();
        cost.bytes = call.bytes();
        if (call.has_backward()) {
            cost.backward_flops = call.backward_flops();
            cost.saved_bytes = row ? keep(call) : keep_all(used_values(op));
        }
        return cost;
    }

private:
    static bool is_view(const OpCall& call) {
        return (call.row.traffic == Traffic::view ||
                call.row.traffic == Traffic::may_copy) &&
               call.value(0);
    }

    double type_bytes(ValueId id) const {
        return static_cast<double>(num_bytes(graph_.value(id).type));
    }

    ValueId storage_of(ValueId id) const { return storage_[id.get()]; }

    //! Bytes that keeping the value adds.
    double keep_value(std::optional<ValueId> id) {
        if (!id) {
            return 0;
        }
        const ValueId storage = storage_of(*id);
        if (graph_.parameter_index(storage) || !kept_.insert(storage).second) {
            return 0;
        }
        return type_bytes(storage);
    }

    double keep_all(const std::vector<ValueId>& ids) {
        double bytes = 0;
        for (const ValueId id : ids) {
            bytes += keep_value(id);
        }
        return bytes;
    }

    double keep(const OpCall& call) {
        const auto first = call.value(call.row.factor);
        const auto second = call.value(call.row.factor + 1);
        switch (call.row.keeps) {
            case Keeps::nothing:
                return 0;
            case Keeps::input:
                return keep_value(first);
            case Keeps::second:
                return keep_value(second);
            case Keeps::output:
                return keep_all(call.op.outputs);
            case Keeps::factors:
                return (call.has_gradient(second) ? keep_value(first) : 0) +
                       (call.has_gradient(first) ? keep_value(second) : 0);
            case Keeps::input_stats:
                return keep_value(first) + call.stats_bytes();
            case Keeps::loss:
                return (first ? type_bytes(*first) : 0) + keep_value(second);
        }
        return 0;
    }

    const OpGraph& graph_;
    std::vector<ValueId> storage_;  // by value: what it is a view of, or itself
    std::set<ValueId> kept_;
};

}  // namespace

Workload estimate_workload(const OpGraph& graph) {
    Estimator estimator(graph);
    Workload workload;
    for (const Op& op : graph.ops()) {
        workload.ops.push_back(estimator.estimate(op));
    }
    return workload;
}

}  // namespace fusionllm
