#include "fusionllm/runtime/checkpoint_tensors.hpp"

#include <algorithm>

#include "fusionllm/runtime/fence_codecs.hpp"
#include "fusionllm/runtime/gradient_exchange.hpp"
#include "fusionllm/runtime/named_tensor.hpp"

namespace fusionllm {
namespace {

void add_parameters(const OpGraph& graph,
                    const OptimizerOptions& optimizer,
                    std::vector<CheckpointTensor>& tensors) {
    const auto& parameters = graph.signature().parameters;
    for (std::size_t p = 0; p < parameters.size(); ++p) {
        std::vector<std::size_t> ops;
        for (const auto& use : uses_of_parameter(graph, p)) {
            ops.push_back(use.op.get());
        }
        if (ops.empty()) {
            continue;
        }
        const TensorType& type = graph.value(parameters[p].value).type;
        tensors.push_back(
            {{parameter_tensor_name(parameters[p].name), type}, ops});
        for (const auto& [state, state_type] : state_types(optimizer, type)) {
            tensors.push_back(
                {{state_tensor_name(parameters[p].name, state), state_type},
                 ops});
        }
    }
}

void add_buffers(const OpGraph& graph, std::vector<CheckpointTensor>& tensors) {
    for (const ModelBuffer& buffer : graph.signature().buffers) {
        std::vector<std::size_t> ops;
        for (const OpId user : graph.users(buffer.value)) {
            ops.push_back(user.get());
        }
        if (!ops.empty()) {
            tensors.push_back({{buffer_tensor_name(buffer.name),
                                graph.value(buffer.value).type},
                               ops});
        }
    }
}

}  // namespace

std::vector<CheckpointTensor> checkpoint_tensors(
    const OpGraph& graph,
    const std::vector<Fence>& fences,
    const OptimizerOptions& optimizer) {
    std::vector<CheckpointTensor> tensors;
    add_parameters(graph, optimizer, tensors);
    add_buffers(graph, tensors);
    for (const Fence& fence : fences) {
        for (const FenceTensor& tensor : fence_tensors(graph, fence)) {
            const std::size_t before = fence.cut - 1;
            const std::size_t after = fence.cut;
            tensors.push_back({{tensor.name, tensor.type},
                               tensor.direction == Direction::forward
                                   ? std::vector{before, after}
                                   : std::vector{after, before}});
        }
    }
    return tensors;
}

std::vector<std::string> checkpoint_tensors_of(
    const std::vector<CheckpointTensor>& tensors,
    const Plan& plan,
    std::size_t stage) {
    std::vector<std::string> names;
    for (const CheckpointTensor& tensor : tensors) {
        if (std::ranges::any_of(tensor.ops, [&](std::size_t op) {
                return stage_of(plan, OpId(static_cast<std::uint32_t>(op))) ==
                       stage;
            })) {
            names.push_back(tensor.entry.name);
        }
    }
    return names;
}

}  // namespace fusionllm
