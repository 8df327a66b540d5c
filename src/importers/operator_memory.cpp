#include "operator_memory.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include <ATen/core/dispatch/Dispatcher.h>

#include "fusionllm/util/error.hpp"

#include "alias_tracker.hpp"
#include "graph_importer.hpp"
#include "in_place.hpp"

namespace fusionllm::detail {
namespace {

using Names = std::vector<std::string>;

//! Operators that may return memory of their first tensors although a schema,
//! or that of another LibTorch, does not say so.
constexpr std::array unsaid_views =
    std::to_array<std::string_view>({"_cast_Byte",
                                     "_cast_Char",
                                     "_cast_Double",
                                     "_cast_Float",
                                     "_cast_Half",
                                     "_cast_Int",
                                     "_cast_Long",
                                     "_cast_Short",
                                     "_conj",
                                     "_neg_view",
                                     "_pack_sequence",
                                     "_reshape_alias",
                                     "_reshape_from_tensor",
                                     "_saturate_weight_to_fp16",
                                     "_to_cpu",
                                     "_unsafe_view",
                                     "adjoint",
                                     "alias",
                                     "align_as",
                                     "align_tensors",
                                     "align_to",
                                     "alpha_dropout",
                                     "as_strided",
                                     "atleast_1d",
                                     "atleast_2d",
                                     "atleast_3d",
                                     "broadcast_tensors",
                                     "broadcast_to",
                                     "cartesian_prod",
                                     "chunk",
                                     "conj",
                                     "conj_physical",
                                     "contiguous",
                                     "data",
                                     "dequantize",
                                     "detach",
                                     "diagonal",
                                     "dropout",
                                     "dsplit",
                                     "einsum",
                                     "expand",
                                     "expand_as",
                                     "feature_alpha_dropout",
                                     "feature_dropout",
                                     "flatten",
                                     "flatten_dense_tensors",
                                     "hsplit",
                                     "imag",
                                     "lift",
                                     "lift_fresh",
                                     "linalg_diagonal",
                                     "mH",
                                     "mT",
                                     "matrix_H",
                                     "meshgrid",
                                     "moveaxis",
                                     "movedim",
                                     "narrow",
                                     "numpy_T",
                                     "permute",
                                     "pin_memory",
                                     "positive",
                                     "ravel",
                                     "real",
                                     "refine_names",
                                     "rename",
                                     "reshape",
                                     "reshape_as",
                                     "resolve_conj",
                                     "resolve_neg",
                                     "select",
                                     "slice",
                                     "split",
                                     "split_with_sizes",
                                     "squeeze",
                                     "sum_to_size",
                                     "swapaxes",
                                     "swapdims",
                                     "t",
                                     "tensor_split",
                                     "to",
                                     "to_dense",
                                     "transpose",
                                     "type_as",
                                     "unbind",
                                     "unflatten",
                                     "unflatten_dense_tensors",
                                     "unfold",
                                     "unsafe_chunk",
                                     "unsafe_split",
                                     "unsafe_split_with_sizes",
                                     "unsqueeze",
                                     "view",
                                     "view_as",
                                     "view_as_complex",
                                     "view_as_real",
                                     "vsplit"});

//! Operators of a newer LibTorch whose results lie in memory of their own.
constexpr std::array new_memory =
    std::to_array<std::string_view>({"_native_batch_norm_legit_functional",
                                     "_safe_softmax",
                                     "rms_norm",
                                     "scaled_dot_product_attention"});

template <std::size_t count>
bool has(const std::array<std::string_view, count>& names,
         const std::string& target) {
    return std::ranges::find(names, std::string_view(target).substr(6)) !=
           names.end();
}

void add_sets(const c10::AliasInfo& info, std::set<c10::Symbol>& sets) {
    sets.insert(info.beforeSets().begin(), info.beforeSets().end());
    sets.insert(info.afterSets().begin(), info.afterSets().end());
    for (const c10::AliasInfo& inner : info.containedTypes()) {
        add_sets(inner, sets);
    }
}

std::set<c10::Symbol> sets_of(const c10::Argument& argument) {
    std::set<c10::Symbol> sets;
    if (argument.alias_info() != nullptr) {
        add_sets(*argument.alias_info(), sets);
    }
    return sets;
}

bool have_common(const std::set<c10::Symbol>& some,
                 const std::set<c10::Symbol>& others) {
    return std::ranges::any_of(
        some, [&](c10::Symbol set) { return others.contains(set); });
}

bool says_alias(const c10::FunctionSchema& schema) {
    return std::ranges::any_of(
        schema.returns(),
        [](const c10::Argument& result) { return !sets_of(result).empty(); });
}

//! The tensors that the node gives to one argument.
Names tensors_of(const ExportedNode& node, const std::string& argument) {
    ExportedNode one;
    std::ranges::copy_if(
        node.inputs,
        std::back_inserter(one.inputs),
        [&](const NamedArgument& input) { return input.name == argument; });
    return read_tensors(one);
}

//! Results of the node that are number `index` of the schema.
Names results_of(const ExportedNode& node,
                 const c10::FunctionSchema& schema,
                 std::size_t index) {
    return schema.returns().size() == node.outputs.size()
               ? Names{node.outputs[index]}
               : node.outputs;
}

void share(const Names& given, const Names& results, OperatorMemory& memory) {
    for (const std::string& tensor : given) {
        for (const std::string& result : results) {
            memory.shared.emplace_back(tensor, result);
        }
    }
}

void read_schema(const c10::FunctionSchema& schema,
                 const ExportedNode& node,
                 OperatorMemory& memory) {
    for (const c10::Argument& argument : schema.arguments()) {
        const auto* info = argument.alias_info();
        if (info == nullptr) {
            continue;
        }
        const Names given = tensors_of(node, argument.name());
        if (info->isWrite()) {
            memory.written.insert(
                memory.written.end(), given.begin(), given.end());
        }
        for (std::size_t i = 0; i < schema.returns().size(); ++i) {
            if (have_common(sets_of(argument), sets_of(schema.returns()[i]))) {
                share(given, results_of(node, schema, i), memory);
            }
        }
    }
}

//! Of several tensors each one its own result; one result of several is new.
void share_first(const ExportedNode& node, OperatorMemory& memory) {
    for (const NamedArgument& input : node.inputs) {
        const Names given = tensors_of(node, input.name);
        if (given.size() == 1) {
            share(given, node.outputs, memory);
        }
        for (std::size_t i = 0;
             given.size() > 1 && given.size() == node.outputs.size() &&
             i < given.size();
             ++i) {
            memory.shared.emplace_back(given[i], node.outputs[i]);
        }
        if (!given.empty()) {
            return;
        }
    }
}

}  // namespace

OperatorMemory memory_of(const ExportedNode& node) {
    const auto [target, overload] = split_target(node);
    const auto handle =
        c10::Dispatcher::singleton().findSchema({target, overload});
    OperatorMemory memory;
    // Parts of `chunk` and the like are not changed in PyTorch; these are.
    memory.is_divided = target.starts_with("aten::unsafe_");
    if (handle) {
        read_schema(handle->schema(), node, memory);
    }
    if (!memory.shared.empty() || !may_alias(target, overload)) {
        return memory;
    }
    if (handle || has(unsaid_views, target)) {
        share_first(node, memory);
    } else {
        share(read_tensors(node), node.outputs, memory);
    }
    return memory;
}

void check_written(const ExportedNode& node, const OperatorMemory& memory) {
    const std::string target = split_target(node).first;
    FUSIONLLM_VALIDATE(memory.written.empty() || is_in_place(target) ||
                           target.find("batch_norm") != target.npos,
                       "{} writes into the tensor '{}'{}; write the model so "
                       "that it makes a new tensor, without out=",
                       node.target,
                       memory.written.front(),
                       where(node));
}

bool may_alias(const std::string& target, const std::string& overload) {
    if (has(unsaid_views, target) || has(new_memory, target)) {
        return has(unsaid_views, target);
    }
    const auto handle =
        c10::Dispatcher::singleton().findSchema({target, overload});
    return !handle || says_alias(handle->schema());
}

}  // namespace fusionllm::detail
