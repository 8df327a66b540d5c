#include "fusionllm/graph/slice.hpp"

#include <algorithm>
#include <set>

#include "fusionllm/util/error.hpp"

namespace fusionllm {

std::vector<ValueId> values_across(const OpGraph& graph, std::size_t cut) {
    FUSIONLLM_EXPECTS(cut <= graph.ops().size());
    std::vector<ValueId> result;
    for (std::size_t i = 0; i < cut; ++i) {
        for (const ValueId output : graph.ops()[i].outputs) {
            const auto& users = graph.users(output);
            if (!users.empty() && users.back().get() >= cut) {
                result.push_back(output);
            }
        }
    }
    std::ranges::sort(result);
    return result;
}

StageSlice make_slice(const OpGraph& graph, OpRange ops) {
    FUSIONLLM_EXPECTS(ops.begin <= ops.end && ops.end <= graph.ops().size());
    StageSlice slice{ops,
                     values_across(graph, ops.begin),
                     values_across(graph, ops.end),
                     {},
                     {},
                     {}};
    std::set<ValueId> user_inputs;
    std::set<std::size_t> buffers;
    for (std::size_t i = ops.begin; i < ops.end; ++i) {
        const OpId op(static_cast<std::uint32_t>(i));
        std::set<std::size_t> parameters;
        for (const ValueId value : used_values(graph.op(op))) {
            if (const auto parameter = graph.parameter_index(value)) {
                parameters.insert(*parameter);
            } else if (const auto buffer = graph.buffer_index(value)) {
                buffers.insert(*buffer);
            } else if (!graph.producer(value)) {
                user_inputs.insert(value);
            }
        }
        for (const std::size_t parameter : parameters) {
            slice.parameter_uses.push_back({parameter, op});
        }
    }
    slice.user_inputs.assign(user_inputs.begin(), user_inputs.end());
    slice.buffers.assign(buffers.begin(), buffers.end());
    return slice;
}

std::vector<ParameterUse> uses_of_parameter(const OpGraph& graph,
                                            std::size_t parameter) {
    FUSIONLLM_EXPECTS(parameter < graph.signature().parameters.size());
    std::vector<ParameterUse> uses;
    const ValueId value = graph.signature().parameters[parameter].value;
    for (const OpId op : graph.users(value)) {
        uses.push_back({parameter, op});
    }
    return uses;
}

}  // namespace fusionllm
