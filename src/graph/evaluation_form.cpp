#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fusionllm/graph/buffer_updates.hpp"
#include "fusionllm/graph/op_graph.hpp"
#include "fusionllm/util/error.hpp"

#include "remap.hpp"

namespace fusionllm {
namespace {

//! An argument that says that the network is being trained.
struct TrainingArgument {
    std::string_view target;
    std::size_t position;
    Argument off;
};

//! A norm without running statistics has only the training way.
bool needs_batch_statistics(const Op& op) {
    constexpr std::size_t running_mean = 3;
    const bool is_norm =
        op.target.ends_with("batch_norm") || op.target == "aten::instance_norm";
    return op.overload == "no_stats" ||
           (is_norm &&
            std::holds_alternative<NoArgument>(op.arguments[running_mean]));
}

}  // namespace

Op evaluation_form(Op op) {
    const TrainingArgument rows[] = {
        {"aten::dropout", 2, false},
        {"aten::feature_dropout", 2, false},
        {"aten::alpha_dropout", 2, false},
        {"aten::native_dropout", 2, false},
        {"aten::batch_norm", 5, false},
        {"aten::native_batch_norm", 5, false},
        {"aten::instance_norm", 5, false},
        {"aten::_native_batch_norm_legit", 5, false},
        {"aten::scaled_dot_product_attention", 4, 0.0}};
    for (const TrainingArgument& row : rows) {
        const bool has_flag =
            op.target == row.target && op.arguments.size() > row.position;
        if (has_flag && !needs_batch_statistics(op)) {
            op.arguments[row.position] = row.off;
        }
    }
    return op;
}

namespace {

bool is_dropout_mask(const Op& op) {
    return op.target == "fusionllm::dropout_mask";
}

class DropoutRemover {
public:
    explicit DropoutRemover(const OpGraph& graph) : graph_(graph) {
        for (std::uint32_t v = 0; v < graph.values().size(); ++v) {
            replacement_.emplace_back(v);
        }
        for (const Op& op : graph.ops()) {
            if (is_dropout_mask(op)) {
                continue;
            }
            if (const auto unmasked = find_unmasked(op)) {
                replacement_[op.outputs.front().get()] =
                    replacement_[unmasked->get()];
            } else {
                ops_.push_back(evaluation_form(op));
            }
        }
    }

    OpGraph build() {
        std::vector<Value> values;
        std::vector<ValueId> new_ids(graph_.values().size(), ValueId(0));
        const auto keep = [&](ValueId id) {
            new_ids[id.get()] =
                ValueId(static_cast<std::uint32_t>(values.size()));
            values.push_back(graph_.value(id));
        };
        std::ranges::for_each(graph_.signature().inputs, keep);
        for (const Parameter& parameter : graph_.signature().parameters) {
            keep(parameter.value);
        }
        for (const ModelBuffer& buffer : graph_.signature().buffers) {
            keep(buffer.value);
        }
        for (const Op& op : ops_) {
            std::ranges::for_each(op.outputs, keep);
        }
        const auto new_id = [&](ValueId id) {
            return new_ids[replacement_[id.get()].get()];
        };
        for (Op& op : ops_) {
            op = detail::with_inputs_mapped(std::move(op), new_id);
            std::ranges::transform(op.outputs, op.outputs.begin(), new_id);
        }
        return {graph_.name(),
                std::move(values),
                std::move(ops_),
                detail::with_values_mapped(graph_.signature(), new_id)};
    }

private:
    bool is_mask(ValueId id) const {
        const auto producer = graph_.producer(id);
        return producer && is_dropout_mask(graph_.op(*producer));
    }

    //! The value that `op` multiplies by a mask, if that is what it does.
    std::optional<ValueId> find_unmasked(const Op& op) const {
        const std::vector<ValueId> used = used_values(op);
        if (std::ranges::none_of(used,
                                 [&](ValueId id) { return is_mask(id); })) {
            return std::nullopt;
        }
        const bool is_product = op.target == "aten::mul" && used.size() == 2 &&
                                op.outputs.size() == 1 &&
                                is_mask(used[0]) != is_mask(used[1]);
        FUSIONLLM_VALIDATE(is_product,
                           "op '{}' ({}) reads a dropout mask, but does not "
                           "multiply a value by it, so the graph '{}' cannot "
                           "run without training; multiply by the mask only",
                           op.name,
                           op.target,
                           graph_.name());
        const ValueId unmasked = is_mask(used[0]) ? used[1] : used[0];
        FUSIONLLM_VALIDATE(
            graph_.value(unmasked).type ==
                graph_.value(op.outputs.front()).type,
            "op '{}' gives {} from a value of type {} and a dropout mask; the "
            "two must be the same, so make the mask from that value",
            op.name,
            to_text(graph_.value(op.outputs.front()).type),
            to_text(graph_.value(unmasked).type));
        return unmasked;
    }

    const OpGraph& graph_;
    std::vector<ValueId> replacement_;  // by value
    std::vector<Op> ops_;
};

}  // namespace

OpGraph evaluation_form(const OpGraph& graph) {
    return DropoutRemover(graph).build();
}

}  // namespace fusionllm
