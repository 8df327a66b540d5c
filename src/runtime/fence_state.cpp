// What fences keep from step to step, and how it comes into checkpoints.

#include <algorithm>

#include "fusionllm/runtime/fence_codecs.hpp"
#include "fusionllm/util/error.hpp"

#include "fence_end.hpp"

namespace fusionllm {
namespace {

std::string fence_tensor_name(std::size_t cut,
                              ValueId value,
                              const std::string& state) {
    return fmt::format("fences/{}-{}/{}", cut, value.get(), state);
}

/*!
 * The bits of a graded basis fill the messages of one format: those of another
 * have no room for them, or room to spare. Goes by the codecs alone, which both
 * ends know.
 */
bool suits_basis(const CodecChoice& maker, const CodecChoice& choice) {
    return !is_graded(choice.forward.format) ||
           maker.forward.format == choice.forward.format;
}

void leave_basis(std::vector<std::pair<std::string, TensorType>>& types) {
    std::erase_if(types,
                  [](const auto& entry) { return entry.first == "basis"; });
}

}  // namespace

std::vector<NamedTensor> FenceCodecs::state() const {
    std::vector<NamedTensor> tensors;
    for (const auto& [key, end] : ends_) {
        const auto& [cut, value, side] = key;
        const auto states = end->codec->state();
        for (const auto& [name, type] : end->own_state_types(side)) {
            const auto found =
                std::ranges::find(states, name, &CodecState::name);
            tensors.push_back(
                {fence_tensor_name(cut, value, name),
                 found != states.end()
                     ? found->tensor
                     // Zeros say that there was none yet.
                     : HostTensor{type,
                                  std::vector<std::byte>(num_bytes(type))}});
        }
    }
    return tensors;
}

void FenceCodecs::load_state(const LoadTensor& load,
                             const std::vector<Fence>& stored) {
    for (const auto& [key, end] : ends_) {
        const auto& [cut, value, side] = key;
        auto types = end->own_state_types(Side::before);
        if (side == Side::after) {
            // The basis, which the other end made, and its own residual.
            std::erase_if(types, [](const auto& entry) {
                return entry.first != "basis";
            });
            const auto own = end->own_state_types(side);
            types.insert(types.end(), own.begin(), own.end());
        }
        for (const Fence& fence : stored) {
            if (fence.cut == cut && fence.value == value &&
                !suits_basis(fence.codec, end->choice)) {
                leave_basis(types);
            }
        }
        std::vector<CodecState> states;
        for (const auto& [name, type] : types) {
            auto tensor = load(fence_tensor_name(cut, value, name));
            if (tensor && tensor->type == type &&
                std::ranges::any_of(tensor->bytes, [](std::byte b) {
                    return b != std::byte{0};
                })) {
                states.push_back({name, std::move(*tensor)});
            }
        }
        end->codec->set_state(states);
    }
}

void FenceCodecs::take_state(const FenceCodecs& other) {
    for (const auto& [key, end] : ends_) {
        const auto found = other.ends_.find(key);
        if (found == other.ends_.end()) {
            continue;
        }
        std::vector<CodecState> states = found->second->codec->state();
        auto types = end->own_state_types(Side::before);
        const auto after = end->own_state_types(Side::after);
        types.insert(types.end(), after.begin(), after.end());
        if (!suits_basis(found->second->choice, end->choice)) {
            leave_basis(types);
        }
        std::erase_if(states, [&](const CodecState& state) {
            return std::ranges::find(
                       types, std::pair(state.name, state.tensor.type)) ==
                   types.end();
        });
        end->codec->set_state(states);
    }
}

std::vector<FenceTensor> fence_tensors(const OpGraph& graph,
                                       const Fence& fence) {
    std::vector<FenceTensor> tensors;
    for (const Direction direction :
         {Direction::forward, Direction::backward}) {
        for (auto& [name, type] : codec_state_types(
                 fence.codec, shape_of(graph, fence.value), direction)) {
            tensors.push_back({fence_tensor_name(fence.cut, fence.value, name),
                               std::move(type),
                               direction});
        }
    }
    return tensors;
}

}  // namespace fusionllm
