#pragma once

#include <string>

#include "fusionllm/comm/transport.hpp"

namespace fusionllm::detail {

//! Slots of a kind; kind and slot together fit the tags that MPI offers.
inline constexpr std::uint32_t num_slots = 1u << 20;

//! Throws `Error` unless the peer is a rank and the channel has a valid slot.
void check_address(int peer, int num_ranks, Channel channel);

//! The sentence about a message that is longer than its receive allows.
std::string describe_too_long(int own_rank,
                              int source,
                              Channel channel,
                              std::size_t num_bytes,
                              std::size_t max_bytes);

//! "activation channel 7"
std::string to_text(Channel channel);

}  // namespace fusionllm::detail
