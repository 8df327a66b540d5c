#pragma once

#include <algorithm>
#include <chrono>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/comm/collectives.hpp"

#include "transport_contract.hpp"

namespace fusionllm::test {
namespace contract {

//! Lengths around the border between one message and two, and a long one.
inline constexpr std::size_t text_lengths[]{0, 1, 247, 248, 249, 256, 100000};

inline std::string make_text(std::size_t length, int rank) {
    std::string text(length, static_cast<char>('a' + rank));
    for (std::size_t i = 0; i < length; i += 97) {
        text[i] = static_cast<char>(i % 256);
    }
    return text;
}

inline void gathers_every_rank_at_the_root(Transport& transport) {
    for (int root = 0; root < transport.size(); ++root) {
        for (const std::size_t length : text_lengths) {
            const auto texts =
                gather(transport, root, 3, make_text(length, transport.rank()));

            if (transport.rank() != root) {
                EXPECT_TRUE(texts.empty());
                continue;
            }
            ASSERT_EQ(std::ssize(texts), transport.size());
            for (int rank = 0; rank < transport.size(); ++rank) {
                EXPECT_EQ(texts[rank], make_text(length, rank));
            }
        }
    }
}

inline void broadcasts_what_the_root_says(Transport& transport) {
    for (int root = 0; root < transport.size(); ++root) {
        for (const std::size_t length : text_lengths) {
            const bool is_root = transport.rank() == root;
            const std::string said =
                is_root ? make_text(length, root) : "not this";

            EXPECT_EQ(broadcast(transport, root, 0, said),
                      make_text(length, root));
        }
    }
}

//! Nanoseconds on a clock that all ranks of a host share.
inline long long host_time() {
    return std::chrono::steady_clock::now().time_since_epoch().count();
}

inline void lets_nobody_leave_a_barrier_early(Transport& transport) {
    for (int round = 0; round < 20; ++round) {
        const long long came = host_time();
        barrier(transport, 1);
        const long long left = host_time();

        const auto all_came = gather(transport, 0, 2, std::to_string(came));
        const auto all_left = gather(transport, 0, 2, std::to_string(left));
        const auto to_number = [](const std::string& text) {
            return std::stoll(text);
        };
        if (transport.rank() == 0) {
            EXPECT_LE(to_number(std::ranges::max(all_came, {}, to_number)),
                      to_number(std::ranges::min(all_left, {}, to_number)));
        }
    }
}

inline void keeps_collectives_of_two_slots_apart(Transport& transport) {
    const int root = transport.size() - 1;
    const auto first = gather(transport, root, 10, "first");
    const auto second = gather(transport, root, 11, "second");

    if (transport.rank() == root) {
        EXPECT_EQ(first, std::vector<std::string>(transport.size(), "first"));
        EXPECT_EQ(second, std::vector<std::string>(transport.size(), "second"));
    }
}

}  // namespace contract

inline std::vector<TransportContract> collectives_contracts() {
    using namespace contract;
    return {{"gathers_every_rank_at_the_root", gathers_every_rank_at_the_root},
            {"broadcasts_what_the_root_says", broadcasts_what_the_root_says},
            {"lets_nobody_leave_a_barrier_early",
             lets_nobody_leave_a_barrier_early},
            {"keeps_collectives_of_two_slots_apart",
             keeps_collectives_of_two_slots_apart}};
}

}  // namespace fusionllm::test
