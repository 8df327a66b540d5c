#pragma once

#include <cstdint>

namespace fusionllm {

//! What a message is about; with the slot it selects the channel.
enum class MessageKind : std::uint8_t {
    activation = 0,
    gradient = 1,
    parameter_gradient = 2,  //!< of a parameter shared by several stages
    control = 3,             //!< losses, norms, decisions
};

inline constexpr int num_message_kinds = 4;

}  // namespace fusionllm
