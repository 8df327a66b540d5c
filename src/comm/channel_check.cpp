#include "channel_check.hpp"

#include "fusionllm/util/error.hpp"
#include "fusionllm/wire/message_header.hpp"

namespace fusionllm::detail {

void check_address(int peer, int num_ranks, Channel channel) {
    if (peer < 0 || peer >= num_ranks) {
        throw Error(fmt::format(
            "there is no rank {} to exchange a message with: the run has {} "
            "ranks; check the devices of the plan",
            peer,
            num_ranks));
    }
    if (channel.slot >= num_slots) {
        throw Error(fmt::format(
            "slot {} of the {} messages is too large: a channel's slot is "
            "below {}; use fewer values across the cuts",
            channel.slot,
            fusionllm::to_text(channel.kind),
            num_slots));
    }
}

std::string describe_too_long(int own_rank,
                              int source,
                              Channel channel,
                              std::size_t num_bytes,
                              std::size_t max_bytes) {
    return fmt::format(
        "rank {} got a message of {} bytes from rank {} on {}, where at most "
        "{} bytes were expected; check that both ranks have the same plan",
        own_rank,
        num_bytes,
        source,
        to_text(channel),
        max_bytes);
}

std::string to_text(Channel channel) {
    return fmt::format(
        "{} channel {}", fusionllm::to_text(channel.kind), channel.slot);
}

}  // namespace fusionllm::detail
