#include "fusionllm/comm/mpi_transport.hpp"

#include <climits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives_contract.hpp"
#include "transport_contract.hpp"

namespace fusionllm::test {
namespace {

using contract::activations;
using contract::finish;
using contract::is_equal;
using contract::make_bytes;
using mpi::Communicator;
using testing::HasSubstr;
using testing::ThrowsMessage;

//! A way to put ranks into groups; all pairs of groups are joined.
struct Grouping {
    const char* name;
    int (*group_of)(int rank, int num_ranks);

    friend std::ostream& operator<<(std::ostream& out, const Grouping& self) {
        return out << self.name;
    }
};

GroupLayout make_layout(const Grouping& grouping, int num_ranks) {
    GroupLayout layout;
    for (int rank = 0; rank < num_ranks; ++rank) {
        layout.group_of_rank.push_back(grouping.group_of(rank, num_ranks));
    }
    const auto& groups = layout.group_of_rank;
    // Descending: the transport has to bring them into order.
    for (int a = num_ranks; a-- > 0;) {
        for (int b = num_ranks; b-- > a + 1;) {
            if (std::ranges::count(groups, a) &&
                std::ranges::count(groups, b)) {
                layout.group_pairs.emplace_back(a, b);
            }
        }
    }
    return layout;
}

const std::vector<Grouping> groupings{
    {"one_group", [](int, int) { return 0; }},
    {"a_group_each", [](int rank, int) { return rank; }},
    {"two_halves", [](int rank, int n) { return 2 * rank < n ? 0 : 1; }},
    {"interleaved_groups", [](int rank, int) { return rank % 2; }},
    {"groups_in_reverse", [](int rank, int n) { return (n - 1 - rank) / 2; }}};

class Mpi
    : public testing::TestWithParam<std::tuple<TransportContract, Grouping>> {};

TEST_P(Mpi, contract) {
    const auto& [contract, grouping] = GetParam();
    const auto world = Communicator::world();
    MpiTransport transport(world, make_layout(grouping, world.size()));

    contract.body(transport);
}

TEST_P(Mpi, contract_with_messages_in_blocks_of_1000_bytes) {
    const auto& [contract, grouping] = GetParam();
    const auto world = Communicator::world();
    MpiTransport transport(
        world, make_layout(grouping, world.size()), {1000, 0});

    contract.body(transport);
}

TEST_P(Mpi, contract_with_messages_in_pieces_of_20000_bytes) {
    const auto& [contract, grouping] = GetParam();
    const auto world = Communicator::world();
    MpiTransport transport(
        world, make_layout(grouping, world.size()), {INT_MAX, 20000});

    contract.body(transport);
}

std::string name_of(const testing::TestParamInfo<Mpi::ParamType>& info) {
    const auto& [contract, grouping] = info.param;
    return fmt::format("{}_in_{}", contract.name, grouping.name);
}

INSTANTIATE_TEST_SUITE_P(
    Transport,
    Mpi,
    testing::Combine(testing::ValuesIn(transport_contracts()),
                     testing::ValuesIn(groupings)),
    name_of);
INSTANTIATE_TEST_SUITE_P(
    Collectives,
    Mpi,
    testing::Combine(testing::ValuesIn(collectives_contracts()),
                     testing::ValuesIn(groupings)),
    name_of);

//! Sends every length, and receives it with more room.
void check_lengths(MessageParts parts) {
    const auto world = Communicator::world();
    MpiTransport transport(
        world, make_layout(groupings[1], world.size()), parts);
    const int peer = world.size() - 1 - world.rank();
    for (std::size_t length = 0; length < 200; ++length) {
        const Request send =
            transport.send(peer, activations, make_bytes(length, 1));

        // The room differs from the message, so both ends' types differ too.
        const Buffer got =
            finish(transport.receive(peer, activations, length + length % 90));

        EXPECT_TRUE(is_equal(got, make_bytes(length, 1))) << length;
    }
}

TEST(MpiTransport, keeps_every_length_around_a_block_border) {
    check_lengths({.block_bytes = 64, .piece_bytes = 0});
}

TEST(MpiTransport, keeps_every_length_around_the_border_of_a_piece) {
    check_lengths({.block_bytes = INT_MAX, .piece_bytes = 64});
}

TEST(MpiTransport, takes_all_pieces_of_a_message_that_is_too_long) {
    const auto world = Communicator::world();
    MpiTransport transport(world,
                           make_layout(groupings[1], world.size()),
                           {.block_bytes = INT_MAX, .piece_bytes = 64});
    const int peer = world.size() - 1 - world.rank();
    if (peer == world.rank()) {
        return;
    }
    const Request first = transport.send(peer, activations, make_bytes(999, 1));
    const Request second = transport.send(peer, activations, make_bytes(70, 2));

    EXPECT_THAT([&] { finish(transport.receive(peer, activations, 100)); },
                ThrowsMessage<Error>(HasSubstr("999")));

    EXPECT_TRUE(is_equal(finish(transport.receive(peer, activations, 70)),
                         make_bytes(70, 2)));
}

TEST(MpiTransport, gives_the_communicator_of_the_own_group) {
    const auto world = Communicator::world();
    const MpiTransport transport(world,
                                 make_layout(groupings[3], world.size()));

    EXPECT_FALSE(transport.group().is_inter());
    EXPECT_EQ(transport.group().size(),
              (world.size() + 1 - world.rank() % 2) / 2);
    EXPECT_EQ(transport.group().rank(), world.rank() / 2);
}

TEST(MpiTransport, refuses_a_message_between_groups_that_are_not_joined) {
    const auto world = Communicator::world();
    GroupLayout layout = make_layout(groupings[1], world.size());
    layout.group_pairs.clear();
    MpiTransport transport(world, layout);
    const int peer = (world.rank() + 1) % world.size();
    if (peer == world.rank()) {
        EXPECT_TRUE(transport.send(peer, activations, Buffer()).test());
        finish(transport.receive(peer, activations, 0));
        return;
    }

    EXPECT_THAT([&] { transport.send(peer, activations, Buffer()); },
                ThrowsMessage<Error>(HasSubstr("not joined")));
    EXPECT_THAT([&] { transport.receive(peer, activations, 1); },
                ThrowsMessage<Error>(HasSubstr("not joined")));
}

TEST(MpiTransport, refuses_a_layout_that_makes_no_sense) {
    const auto world = Communicator::world();
    const std::vector<int> groups(world.size(), 0);
    auto one_too_many = groups;
    one_too_many.push_back(0);

    EXPECT_THAT(
        [&] {
            MpiTransport(world, {one_too_many, {}});
        },
        ThrowsMessage<InputError>(HasSubstr("ranks")));
    EXPECT_THROW(MpiTransport(world, {groups, {{0, 1}}}), InputError);
    EXPECT_THROW(MpiTransport(world, {groups, {{0, 0}}}), InputError);
    EXPECT_THROW(MpiTransport(world, {std::vector<int>(world.size(), -1), {}}),
                 InputError);
}

TEST(MpiRequest, is_given_up_without_waiting_while_an_exception_unwinds) {
    constexpr std::size_t num_bytes = 1 << 20;
    const auto world = Communicator::world();
    MpiTransport transport(world, make_layout(groupings[0], world.size()));
    const int peer = world.size() - 1 - world.rank();
    const Channel other{MessageKind::gradient, 0};
    const auto leave_by_exception = [&] {
        const Request never = transport.receive(peer, activations, 8);
        const Request unsent =
            transport.send(peer, other, make_bytes(num_bytes, 3));
        throw std::runtime_error("left");
    };

    EXPECT_THROW(leave_by_exception(), std::runtime_error);

    // The bytes of the message on its way are still there.
    const Buffer got = finish(transport.receive(peer, other, num_bytes));
    EXPECT_TRUE(is_equal(got, make_bytes(num_bytes, 3)));
}

}  // namespace
}  // namespace fusionllm::test
