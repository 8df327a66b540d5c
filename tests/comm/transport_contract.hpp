#pragma once

#include <algorithm>
#include <cstddef>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/comm/transport.hpp"
#include "fusionllm/comm/wait.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm::test {

//! What every transport must do; each function is run as every rank at once.
struct TransportContract {
    const char* name;
    void (*body)(Transport&);

    friend std::ostream& operator<<(std::ostream& out,
                                    const TransportContract& contract) {
        return out << contract.name;
    }
};

namespace contract {

inline constexpr Channel activations{MessageKind::activation, 0};
inline constexpr std::uint32_t last_slot = (1u << 20) - 1;

//! Bytes that depend on position and seed, so that mix-ups show.
inline Buffer make_bytes(std::size_t num_bytes, std::size_t seed) {
    Buffer buffer(num_bytes);
    for (std::size_t i = 0; i < num_bytes; ++i) {
        buffer.data()[i] = static_cast<std::byte>((i * 31 + i / 251) ^ seed);
    }
    return buffer;
}

inline bool is_equal(const Buffer& a, const Buffer& b) {
    return std::ranges::equal(a.span(), b.span());
}

inline Buffer finish(Request request) {
    wait(request);
    return request.take();
}

inline void keeps_the_order_of_a_channel(Transport& transport) {
    constexpr int num_messages = 50;
    const int to = (transport.rank() + 1) % transport.size();
    const int from =
        (transport.rank() + transport.size() - 1) % transport.size();
    std::vector<Request> sends;
    std::vector<Request> receives;
    for (int i = 0; i < num_messages; ++i) {
        receives.push_back(transport.receive(from, activations, 200));
        sends.push_back(transport.send(to, activations, make_bytes(i, i)));
    }

    // The last one first: order is that of posting, not of testing.
    for (int i = num_messages; i-- > 0;) {
        const Buffer got = finish(std::move(receives[i]));

        EXPECT_TRUE(is_equal(got, make_bytes(i, i))) << "message " << i;
    }
}

inline void keeps_channels_apart(Transport& transport) {
    const std::vector<Channel> channels{
        {MessageKind::activation, 0},
        {MessageKind::activation, 1},
        {MessageKind::gradient, 0},
        {MessageKind::parameter_gradient, last_slot},
        {MessageKind::control, 0},
        {MessageKind::control, last_slot}};
    std::vector<Request> sends;
    for (int peer = 0; peer < transport.size(); ++peer) {
        for (std::size_t c = 0; c < channels.size(); ++c) {
            sends.push_back(transport.send(
                peer, channels[c], make_bytes(9, 16 * c + transport.rank())));
        }
    }

    for (std::size_t c = channels.size(); c-- > 0;) {
        for (int peer = transport.size(); peer-- > 0;) {
            const Buffer got =
                finish(transport.receive(peer, channels[c], 1000));

            EXPECT_TRUE(is_equal(got, make_bytes(9, 16 * c + peer)));
        }
    }
}

inline void carries_many_messages_at_once(Transport& transport) {
    constexpr std::uint32_t num_slots = 100;
    std::vector<Request> sends;
    std::vector<std::pair<Request, Buffer>> receives;
    for (std::uint32_t slot = 0; slot < num_slots; ++slot) {
        const Channel channel{MessageKind::gradient, slot};
        for (int peer = 0; peer < transport.size(); ++peer) {
            receives.emplace_back(transport.receive(peer, channel, 5000),
                                  make_bytes(37 * slot, slot + peer));
            sends.push_back(transport.send(
                peer, channel, make_bytes(37 * slot, slot + transport.rank())));
        }
    }

    for (auto& [request, expected] : receives) {
        EXPECT_TRUE(is_equal(finish(std::move(request)), expected));
    }
}

inline void carries_64_mib(Transport& transport) {
    constexpr std::size_t num_bytes = std::size_t{64} << 20;
    const int last = transport.size() - 1;
    std::vector<Request> sends;
    if (transport.rank() == 0) {
        sends.push_back(
            transport.send(last, activations, make_bytes(num_bytes, 1)));
    }

    if (transport.rank() == last) {
        const Buffer got = finish(transport.receive(0, activations, num_bytes));

        EXPECT_TRUE(is_equal(got, make_bytes(num_bytes, 1)));
    }
}

inline void carries_zero_bytes(Transport& transport) {
    const Request send = transport.send(
        transport.size() - 1 - transport.rank(), activations, Buffer());

    const Buffer got = finish(transport.receive(
        transport.size() - 1 - transport.rank(), activations, 0));

    EXPECT_EQ(got.size(), 0u);
}

inline void carries_messages_to_oneself(Transport& transport) {
    const int self = transport.rank();
    Request early = transport.receive(self, activations, 300000);
    EXPECT_FALSE(early.test());
    const Request first =
        transport.send(self, activations, make_bytes(200000, self));
    const Request second = transport.send(self, activations, make_bytes(3, 4));

    EXPECT_TRUE(is_equal(finish(std::move(early)), make_bytes(200000, self)));
    EXPECT_TRUE(is_equal(finish(transport.receive(self, activations, 3)),
                         make_bytes(3, 4)));
}

inline void refuses_a_message_that_is_too_long(Transport& transport) {
    const int peer = transport.size() - 1 - transport.rank();
    const Channel channel{MessageKind::gradient, 5};
    for (const std::size_t room : {0, 100, 100000, 10000000}) {
        Request receive = transport.receive(peer, channel, room);
        const Request send =
            transport.send(peer, channel, make_bytes(room + 1, 0));

        try {
            wait(receive);
            ADD_FAILURE() << "one byte too many for " << room;
        } catch (const Error& error) {
            const std::string text = error.what();
            const std::vector<std::string> parts{
                fmt::format(" {} bytes", room),
                fmt::format(" {} bytes", room + 1),
                fmt::format("from rank {}", peer),
                "gradient channel 5"};
            for (const std::string& part : parts) {
                EXPECT_NE(text.find(part), text.npos) << text;
            }
        }
        EXPECT_THROW(receive.test(), Error);
    }
}

inline void works_on_after_a_message_that_was_too_long(Transport& transport) {
    const int peer = transport.size() - 1 - transport.rank();
    {
        Request receive = transport.receive(peer, activations, 1);
        const Request send = transport.send(peer, activations, Buffer(2));
        EXPECT_THROW(wait(receive), Error);
    }
    const Request send = transport.send(peer, activations, make_bytes(7, 7));

    const Buffer got = finish(transport.receive(peer, activations, 7));

    EXPECT_TRUE(is_equal(got, make_bytes(7, 7)));
}

inline void refuses_ranks_and_slots_that_are_none(Transport& transport) {
    const Channel bad_slot{MessageKind::control, last_slot + 1};

    EXPECT_THROW(transport.send(transport.size(), activations, Buffer()),
                 Error);
    EXPECT_THROW(transport.receive(-1, activations, 0), Error);
    EXPECT_THROW(transport.send(0, bad_slot, Buffer()), Error);
}

}  // namespace contract

inline std::vector<TransportContract> transport_contracts() {
    using namespace contract;
    return {{"keeps_the_order_of_a_channel", keeps_the_order_of_a_channel},
            {"keeps_channels_apart", keeps_channels_apart},
            {"carries_many_messages_at_once", carries_many_messages_at_once},
            {"carries_64_mib", carries_64_mib},
            {"carries_zero_bytes", carries_zero_bytes},
            {"carries_messages_to_oneself", carries_messages_to_oneself},
            {"refuses_a_message_that_is_too_long",
             refuses_a_message_that_is_too_long},
            {"works_on_after_a_message_that_was_too_long",
             works_on_after_a_message_that_was_too_long},
            {"refuses_ranks_and_slots_that_are_none",
             refuses_ranks_and_slots_that_are_none}};
}

}  // namespace fusionllm::test
