#include "fusionllm/graph/restart.hpp"

#include <algorithm>
#include <ranges>
#include <utility>
#include <vector>

#include <fmt/ranges.h>

#include "fusionllm/graph/slice.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

#include "remap.hpp"

namespace fusionllm {
namespace {

// Shapes: B micro-batch, T context, C width of the value, V vocabulary.

//! The embedding of the tokens that the graph begins with.
struct TokenEmbedding {
    ValueId tokens;       // i64 (B, T)
    Parameter parameter;  // f32 (V, any)
};

TokenEmbedding find_token_embedding(const OpGraph& graph) {
    const auto& inputs = graph.signature().inputs;
    for (const Op& op : graph.ops()) {
        const auto used = used_values(op);
        if (op.target != "aten::embedding" || used.size() != 2) {
            continue;
        }
        const TensorType& type = graph.value(used[1]).type;
        const auto parameter = graph.parameter_index(used[0]);
        if (parameter && std::ranges::find(inputs, used[1]) != inputs.end() &&
            type.dtype == DType::i64 && type.sizes.size() == 2) {
            return {used[1], graph.signature().parameters[*parameter]};
        }
    }
    throw InputError(fmt::format(
        "the graph '{}' cannot start again from token ids: no embedding in it "
        "reads an input of token ids, i64 (batch, context); take a language "
        "model, or let it start from zeros (restart = \"zeros\")",
        graph.name()));
}

bool crosses_alone(const OpGraph& graph, std::size_t cut) {
    return std::ranges::count_if(values_across(graph, cut), [&](ValueId id) {
               return graph.has_gradient(id);
           }) == 1;
}

//! "; after op 'x' one value crosses", of the nearest such op.
std::string nearest_cut(const OpGraph& graph, std::size_t cut) {
    const std::size_t num_ops = graph.ops().size();
    for (std::size_t distance = 1; distance < num_ops; ++distance) {
        for (const std::size_t other : {cut - distance, cut + distance}) {
            // A number below 0 is a very large one.
            if (other > 0 && other < num_ops && crosses_alone(graph, other)) {
                return fmt::format("; after op '{}' one value crosses",
                                   graph.ops()[other - 1].name);
            }
        }
    }
    return "";
}

//! The value that is to be replaced: the one that crosses with a gradient.
ValueId find_crossing(const OpGraph& graph, std::size_t cut) {
    std::vector<ValueId> crossing = values_across(graph, cut);
    std::erase_if(crossing,
                  [&](ValueId id) { return !graph.has_gradient(id); });
    const auto names = crossing | std::views::transform([&](ValueId id) {
                           return "'" + graph.value(id).name + "'";
                       });
    FUSIONLLM_VALIDATE(
        crossing.size() == 1,
        "{} values with a gradient cross the cut before op number {} of the "
        "graph '{}' ({}), but a restart replaces one{}",
        crossing.size(),
        cut,
        graph.name(),
        fmt::join(names, ", "),
        nearest_cut(graph, cut));
    return crossing.front();
}

void check_has_rows_of_tokens(const OpGraph& graph,
                              std::size_t cut,
                              const Value& value,
                              const TensorType& tokens) {
    const auto& sizes = value.type.sizes;
    const bool has_rows =
        !sizes.empty() &&
        num_elements(value.type) == num_elements(tokens) * sizes.back() &&
        (sizes.size() == 2 ||
         (sizes.size() == 3 && sizes.front() == tokens.sizes.front()));
    FUSIONLLM_VALIDATE(
        value.type.dtype == DType::f32 && has_rows,
        "the value '{}', which crosses the cut before op number {}, is {}; a "
        "restart needs f32 with a row for each token of {}{}",
        value.name,
        cut,
        to_text(value.type),
        to_text(tokens),
        nearest_cut(graph, cut));
}

/*!
 * Collects the values and ops of the new graph. New ids are the old ones, and
 * those after them; what is not used is left out at the end.
 */
class Restarter {
public:
    Restarter(const OpGraph& graph, std::size_t cut)
        : graph_(graph),
          cut_(cut),
          values_(graph.values()),
          ops_(graph.ops()),
          signature_(graph.signature()) {}

    //! Let the ops after the cut read the last value that was added.
    void replace(ValueId crossing) {
        const ValueId by = new_ops_.back().outputs.front();
        for (std::size_t i = cut_; i < ops_.size(); ++i) {
            ops_[i] = detail::with_inputs_mapped(
                std::move(ops_[i]),
                [&](ValueId id) { return id == crossing ? by : id; });
        }
        ops_.insert(ops_.begin() + static_cast<std::ptrdiff_t>(cut_),
                    new_ops_.begin(),
                    new_ops_.end());
    }

    //! restart.token[tokens] + restart.position, in the crossing value's type.
    void add_embedding(const TokenEmbedding& old, const TensorType& result) {
        const auto& ids = graph_.value(old.tokens).type.sizes;
        const std::int64_t C = result.sizes.back();
        const std::int64_t V =
            graph_.value(old.parameter.value).type.sizes.front();
        const TensorType rows{DType::f32, {ids[0], ids[1], C}};
        const ValueId token =
            add_parameter("restart.token.weight", {V, C}, old.parameter);
        const ValueId position = add_parameter(
            "restart.position.weight", {ids[1], C}, old.parameter);
        const ValueId x =
            add_op("restart.token",
                   "aten::embedding",
                   "",
                   {token, old.tokens, std::int64_t{-1}, false, false},
                   rows);
        const ValueId sum = add_op("restart.position",
                                   "aten::add",
                                   "Tensor",
                                   {x, position, std::int64_t{1}},
                                   rows);
        if (result != rows) {
            add_op(
                "restart.flat", "aten::view", "", {sum, result.sizes}, result);
        }
    }

    void add_zeros(const TensorType& result) {
        add_op("restart.zeros",
               "aten::zeros",
               "",
               {result.sizes, result.dtype},
               result);
    }

    OpGraph build();

private:
    ValueId add_value(const std::string& name, TensorType type) {
        values_.push_back({name, std::move(type)});
        return ValueId(static_cast<std::uint32_t>(values_.size() - 1));
    }

    ValueId add_parameter(const std::string& name,
                          std::vector<std::int64_t> sizes,
                          const Parameter& like) {
        Parameter parameter = like;
        parameter.name = name;
        parameter.value = add_value(name, {DType::f32, std::move(sizes)});
        signature_.parameters.push_back(parameter);
        return parameter.value;
    }

    ValueId add_op(const std::string& name,
                   const std::string& target,
                   const std::string& overload,
                   std::vector<Argument> arguments,
                   TensorType type) {
        const ValueId output = add_value(name, std::move(type));
        new_ops_.push_back(
            {name, target, overload, std::move(arguments), {output}});
        return output;
    }

    std::vector<bool> find_needed();
    void check_nothing_else_crosses(const std::vector<bool>& needed) const;

    const OpGraph& graph_;
    std::size_t cut_;
    std::vector<Value> values_;
    std::vector<Op> ops_;      // in topological order
    std::vector<Op> new_ops_;  // likewise
    GraphSignature signature_;
};

bool is_needed(const Op& op, const std::vector<bool>& needed) {
    return std::ranges::any_of(op.outputs,
                               [&](ValueId id) { return needed[id.get()]; });
}

//! By value: whether the loss or the output depends on it.
std::vector<bool> Restarter::find_needed() {
    std::vector<bool> needed(values_.size(), false);
    for (const auto& end : {signature_.loss, signature_.output}) {
        if (end) {
            needed[end->get()] = true;
        }
    }
    for (const Op& op : std::views::reverse(ops_)) {
        if (is_needed(op, needed)) {
            for (const ValueId id : used_values(op)) {
                needed[id.get()] = true;
            }
        }
    }
    return needed;
}

void Restarter::check_nothing_else_crosses(
    const std::vector<bool>& needed) const {
    std::vector<bool> made_with_parameters(values_.size(), false);
    for (const Parameter& parameter : signature_.parameters) {
        made_with_parameters[parameter.value.get()] = true;
    }
    const Value* crossing = nullptr;  // the last one
    for (std::size_t i = 0; i < cut_; ++i) {
        const bool depends = std::ranges::any_of(
            used_values(ops_[i]),
            [&](ValueId id) { return made_with_parameters[id.get()]; });
        for (const ValueId output : ops_[i].outputs) {
            made_with_parameters[output.get()] = depends;
            if (depends && needed[output.get()]) {
                crossing = &values_[output.get()];
            }
        }
    }
    FUSIONLLM_VALIDATE(
        crossing == nullptr,
        "the value '{}' crosses the cut before op number {} of the graph '{}' "
        "without a gradient, or is a result itself, so that more than token "
        "ids would cross; choose another cut{}",
        crossing->name,
        cut_,
        graph_.name(),
        nearest_cut(graph_, cut_));
}

OpGraph Restarter::build() {
    const std::vector<bool> needed = find_needed();
    check_nothing_else_crosses(needed);
    const auto is_unused = [&](const auto& held) {
        return !needed[held.value.get()];
    };
    std::erase_if(signature_.parameters, is_unused);
    std::erase_if(signature_.buffers, is_unused);
    std::erase_if(ops_, [&](const Op& op) { return !is_needed(op, needed); });

    std::vector<bool> has_source = needed;
    for (const ValueId input : signature_.inputs) {
        has_source[input.get()] = true;
    }
    for (const Op& op : ops_) {
        for (const ValueId output : op.outputs) {
            has_source[output.get()] = true;
        }
    }
    std::vector<Value> values;
    std::vector<ValueId> new_ids(values_.size(), ValueId(0));
    for (std::size_t v = 0; v < values_.size(); ++v) {
        if (has_source[v]) {
            new_ids[v] = ValueId(static_cast<std::uint32_t>(values.size()));
            values.push_back(std::move(values_[v]));
        }
    }
    const auto new_id = [&](ValueId id) { return new_ids[id.get()]; };
    for (Op& op : ops_) {
        op = detail::with_inputs_mapped(std::move(op), new_id);
        std::ranges::transform(op.outputs, op.outputs.begin(), new_id);
    }
    return {graph_.name(),
            std::move(values),
            std::move(ops_),
            detail::with_values_mapped(std::move(signature_), new_id)};
}

}  // namespace

std::size_t find_cut(const OpGraph& graph, std::string_view name) {
    const std::string begin = std::string(name) + ".";
    std::vector<std::string> names;
    std::size_t last = 0;
    for (std::size_t i = 0; i < graph.ops().size(); ++i) {
        const std::string& op = graph.ops()[i].name;
        if (op == name) {
            return i + 1;
        }
        if (op.starts_with(begin)) {
            last = i + 1;
        }
        names.push_back(op);
    }
    FUSIONLLM_VALIDATE(last > 0,
                       "the graph '{}' has no op '{}', nor ops that begin with "
                       "'{}'{}",
                       graph.name(),
                       name,
                       begin,
                       did_you_mean(name, names));
    return last;
}

OpGraph restart_at(const OpGraph& graph, std::size_t cut, RestartKind kind) {
    FUSIONLLM_VALIDATE(cut > 0 && cut < graph.ops().size(),
                       "there is nothing to cut before op number {} of the "
                       "graph '{}', which has {}; give 1 to {}",
                       cut,
                       graph.name(),
                       graph.ops().size(),
                       graph.ops().size() - 1);
    Restarter restarter(graph, cut);
    if (kind == RestartKind::zeros) {
        const ValueId crossing = find_crossing(graph, cut);
        restarter.add_zeros(graph.value(crossing).type);
        restarter.replace(crossing);
        return restarter.build();
    }
    const TokenEmbedding old = find_token_embedding(graph);
    const ValueId crossing = find_crossing(graph, cut);
    const Value& value = graph.value(crossing);
    check_has_rows_of_tokens(graph, cut, value, graph.value(old.tokens).type);
    restarter.add_embedding(old, value.type);
    restarter.replace(crossing);
    return restarter.build();
}

}  // namespace fusionllm
