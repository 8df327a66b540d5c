#include "alias_tracker.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "fusionllm/util/error.hpp"

#include "graph_importer.hpp"

namespace fusionllm::detail {

std::vector<std::string> read_tensors(const ExportedNode& node) {
    std::vector<std::string> names;
    for (const NamedArgument& input : node.inputs) {
        if (const auto* one = std::get_if<TensorName>(&input.value)) {
            names.push_back(one->name);
        }
        if (const auto* many =
                std::get_if<std::vector<std::optional<std::string>>>(
                    &input.value)) {
            for (const auto& name : *many) {
                if (name) {
                    names.push_back(*name);
                }
            }
        }
    }
    return names;
}

std::vector<std::string> unused_inputs(const ExportedProgram& program) {
    std::set<std::string> read;
    for (const ExportedNode& node : program.nodes) {
        for (const std::string& name : read_tensors(node)) {
            read.insert(name);
        }
    }
    std::vector<std::string> unused;
    for (const ExportedInput& input : program.inputs) {
        if (input.kind == ExportedInput::Kind::user &&
            !read.contains(input.value)) {
            unused.push_back(input.value);
        }
    }
    return unused;
}

bool may_alias(const std::string& target) {
    constexpr std::array<std::string_view, 53> views = {"_conj",
                                                        "_neg_view",
                                                        "_reshape_alias",
                                                        "_unsafe_view",
                                                        "adjoint",
                                                        "alias",
                                                        "as_strided",
                                                        "atleast_1d",
                                                        "atleast_2d",
                                                        "atleast_3d",
                                                        "broadcast_tensors",
                                                        "broadcast_to",
                                                        "chunk",
                                                        "conj",
                                                        "contiguous",
                                                        "detach",
                                                        "diagonal",
                                                        "dropout",
                                                        "dsplit",
                                                        "expand",
                                                        "expand_as",
                                                        "flatten",
                                                        "hsplit",
                                                        "imag",
                                                        "lift_fresh",
                                                        "movedim",
                                                        "narrow",
                                                        "numpy_T",
                                                        "permute",
                                                        "positive",
                                                        "real",
                                                        "reshape",
                                                        "reshape_as",
                                                        "resolve_conj",
                                                        "resolve_neg",
                                                        "select",
                                                        "slice",
                                                        "split",
                                                        "split_with_sizes",
                                                        "squeeze",
                                                        "swapaxes",
                                                        "swapdims",
                                                        "t",
                                                        "tensor_split",
                                                        "to",
                                                        "transpose",
                                                        "type_as",
                                                        "unbind",
                                                        "unflatten",
                                                        "unfold",
                                                        "unsqueeze",
                                                        "view_as_complex",
                                                        "view_as_real"};
    constexpr std::array<std::string_view, 4> more = {
        "view", "view_as", "vsplit", "moveaxis"};
    const std::string_view name = std::string_view(target).substr(6);
    return std::ranges::find(views, name) != views.end() ||
           std::ranges::find(more, name) != more.end();
}

int AliasTracker::group(const std::string& name) {
    const auto [entry, is_new] = groups_.try_emplace(name, next_);
    next_ += is_new ? 1 : 0;
    return entry->second;
}

void AliasTracker::join(const ExportedNode& node) {
    const std::vector<std::string> read = read_tensors(node);
    if (read.empty()) {
        return;
    }
    const int first = group(read.front());
    std::vector<std::string> others(read.begin() + 1, read.end());
    others.insert(others.end(), node.outputs.begin(), node.outputs.end());
    for (const std::string& other : others) {
        const int merged = group(other);
        for (auto& [name, number] : groups_) {
            number = number == merged ? first : number;
        }
    }
}

void AliasTracker::check_change(const ExportedProgram& program,
                                std::size_t position,
                                const std::string& tensor,
                                const std::string& where) const {
    const auto own = groups_.find(tensor);
    if (own == groups_.end()) {
        return;
    }
    for (std::size_t i = position + 1; i < program.nodes.size(); ++i) {
        for (const std::string& name : read_tensors(program.nodes[i])) {
            const auto other = groups_.find(name);
            FUSIONLLM_VALIDATE(
                name == tensor || other == groups_.end() ||
                    other->second != own->second,
                "{} changes '{}' in place{}, and '{}' may be a view of the "
                "same memory that {} reads later; write the model so that it "
                "makes a new tensor there",
                program.nodes[position].target,
                tensor,
                where,
                name,
                program.nodes[i].target);
        }
    }
}

}  // namespace fusionllm::detail
