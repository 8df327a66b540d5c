#include "fusionllm/graph/decompose.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <span>
#include <string_view>

#include <fmt/format.h>

#include "fusionllm/graph/graph_hash.hpp"
#include "fusionllm/util/error.hpp"

#include "remap.hpp"

namespace fusionllm {
namespace {

constexpr std::array<std::string_view, 8> attention_arguments{"query",
                                                              "key",
                                                              "value",
                                                              "attn_mask",
                                                              "dropout_p",
                                                              "is_causal",
                                                              "scale",
                                                              "enable_gqa"};
constexpr std::array<std::string_view, 4> rms_norm_arguments{
    "input", "normalized_shape", "weight", "eps"};

//! The arguments' names of an operator that can be decomposed, or none.
std::span<const std::string_view> argument_names(const Op& op) {
    if (op.target == "aten::scaled_dot_product_attention") {
        return attention_arguments;
    }
    if (op.target == "aten::rms_norm") {
        return rms_norm_arguments;
    }
    return {};
}

/*!
 * Replaces ops one by one: each is decomposed in a graph of its own, which then
 * takes its place. New ids come after the old ones.
 */
class Decomposer {
public:
    explicit Decomposer(const OpGraph& graph)
        : graph_(graph), values_(graph.values()) {
        for (const Op& op : graph.ops()) {
            names_.insert(op.name);
        }
        for (const Value& value : graph.values()) {
            names_.insert(value.name);
        }
    }

    void keep(const Op& op) { ops_.push_back(op); }

    void replace(const Op& op) {
        const auto names = argument_names(op);
        FUSIONLLM_VALIDATE(
            op.arguments.size() <= names.size() && op.outputs.size() == 1,
            "op '{}' gives {} arguments to {} for {} values, "
            "which takes {} for one",
            op.name,
            op.arguments.size(),
            full_name(op),
            op.outputs.size(),
            names.size());
        GraphBuilder part(op.name);
        std::map<std::string, ValueId> outer;  // of the part's inputs
        const Op inner = detail::with_inputs_mapped(op, [&](ValueId value) {
            const std::string name = fmt::format("input {}", outer.size());
            outer.emplace(name, value);
            return part.add_input(name, graph_.value(value).type);
        });
        Call call{op.name,
                  op.target,
                  op.overload,
                  {},
                  {graph_.value(op.outputs.front()).type},
                  ""};
        for (std::size_t i = 0; i < inner.arguments.size(); ++i) {
            call.arguments.emplace_back(names[i], inner.arguments[i]);
        }
        OpWriter writer(part);
        writer.reserve(op.name);
        part.set_output(write_decomposed(call, writer).front());
        splice(part.build(), op, outer);
    }

    OpGraph build() {
        return {graph_.name(),
                std::move(values_),
                std::move(ops_),
                graph_.signature()};
    }

private:
    std::string unique(const std::string& name) {
        std::string candidate = name;
        for (int i = 2; !names_.insert(candidate).second; ++i) {
            candidate = fmt::format("{}_{}", name, i);
        }
        return candidate;
    }

    void splice(const OpGraph& part,
                const Op& replaced,
                const std::map<std::string, ValueId>& outer) {
        std::vector<ValueId> new_ids;
        for (std::uint32_t v = 0; v < part.values().size(); ++v) {
            const Value& value = part.value(ValueId(v));
            if (ValueId(v) == part.signature().output) {
                new_ids.push_back(replaced.outputs.front());
            } else if (!part.producer(ValueId(v))) {
                new_ids.push_back(outer.at(value.name));
            } else {
                new_ids.emplace_back(
                    static_cast<std::uint32_t>(values_.size()));
                values_.push_back({unique(value.name), value.type});
            }
        }
        const auto new_id = [&](ValueId id) { return new_ids[id.get()]; };
        for (Op op : part.ops()) {
            op = detail::with_inputs_mapped(std::move(op), new_id);
            std::ranges::transform(op.outputs, op.outputs.begin(), new_id);
            const bool is_last = op.outputs.front() == replaced.outputs.front();
            op.name = is_last ? replaced.name
                              : values_[op.outputs.front().get()].name;
            ops_.push_back(std::move(op));
        }
    }

    const OpGraph& graph_;
    std::vector<Value> values_;
    std::vector<Op> ops_;
    std::set<std::string> names_;  // of ops and values
};

}  // namespace

OpGraph decompose(const OpGraph& graph,
                  const std::function<bool(const Op&)>& is_wanted) {
    Decomposer decomposer(graph);
    bool has_changed = false;
    for (const Op& op : graph.ops()) {
        if (argument_names(op).empty() || !is_wanted(op)) {
            decomposer.keep(op);
        } else {
            decomposer.replace(op);
            has_changed = true;
        }
    }
    return has_changed ? decomposer.build() : graph;
}

std::uint64_t portable_hash(const OpGraph& graph) {
    return graph_hash(decompose(graph, [](const Op&) { return true; }));
}

bool is_portable_hash(std::uint64_t hash, const OpGraph& graph) {
    return is_graph_hash(hash,
                         decompose(graph, [](const Op&) { return true; }));
}

}  // namespace fusionllm
