#include "fusionllm/plan/fence.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

std::pair<std::size_t, ValueId> key_of(const Fence& fence) {
    return {fence.cut, fence.value};
}

//! Whether an op mixes in a number so large that no codec could keep the others
//! beside it: masked attention scores.
bool has_mask_number(const Op& op) {
    constexpr double large = 1e4;
    return std::ranges::any_of(op.arguments, [](const Argument& argument) {
        const auto* number = std::get_if<double>(&argument);
        return number != nullptr && !(std::abs(*number) < large);
    });
}

std::string list(const std::vector<ValueId>& values) {
    std::vector<std::uint32_t> numbers;
    for (const ValueId value : values) {
        numbers.push_back(value.get());
    }
    return numbers.empty() ? "none"
                           : fmt::format("{}", fmt::join(numbers, ", "));
}

}  // namespace

bool is_compressible(const OpGraph& graph, ValueId value) {
    const TensorType& type = graph.value(value).type;
    const auto producer = graph.producer(value);
    return type.dtype == DType::f32 && num_elements(type) > 0 &&
           graph.has_gradient(value) && producer &&
           !has_mask_number(graph.op(*producer));
}

std::vector<ValueId> compressible_values(const OpGraph& graph,
                                         std::size_t cut) {
    std::vector<ValueId> values = values_across(graph, cut);
    std::erase_if(values,
                  [&](ValueId id) { return !is_compressible(graph, id); });
    return values;
}

MatrixShape shape_of(const OpGraph& graph, ValueId value) {
    return matrix_shape(graph.value(value).type);
}

std::vector<Fence> fences_at(const std::vector<Fence>& fences,
                             std::size_t cut) {
    const auto range = std::ranges::equal_range(fences, cut, {}, &Fence::cut);
    return {range.begin(), range.end()};
}

void validate(const std::vector<Fence>& fences, const OpGraph& graph) {
    for (std::size_t i = 0; i < fences.size(); ++i) {
        const Fence& fence = fences[i];
        FUSIONLLM_VALIDATE(
            i == 0 || key_of(fences[i - 1]) < key_of(fence),
            "the fence of value {} at cut {} comes after that of value {} at "
            "cut {}; fences stand in ascending order of cut and value, each "
            "once",
            fence.value.get(),
            fence.cut,
            fences[i - 1].value.get(),
            fences[i - 1].cut);
        FUSIONLLM_VALIDATE(
            fence.cut > 0 && fence.cut < graph.ops().size(),
            "there is no cut {} for a fence; the graph has cuts 1 to {}",
            fence.cut,
            graph.ops().size() - 1);
        const auto values = compressible_values(graph, fence.cut);
        FUSIONLLM_VALIDATE(
            std::ranges::find(values, fence.value) != values.end(),
            "value {} cannot be compressed at cut {}; those that cross it and "
            "can be are: {}",
            fence.value.get(),
            fence.cut,
            list(values));
    }
}

}  // namespace fusionllm
