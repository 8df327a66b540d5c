#include "fusionllm/comm/loopback.hpp"

#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives_contract.hpp"
#include "transport_contract.hpp"

namespace fusionllm::test {
namespace {

using contract::activations;
using testing::HasSubstr;
using testing::StrEq;
using testing::ThrowsMessage;

class Loopback
    : public testing::TestWithParam<std::tuple<TransportContract, int>> {};

TEST_P(Loopback, contract) {
    const auto& [contract, num_ranks] = GetParam();

    run_loopback(num_ranks, contract.body);
}

std::string name_of(const testing::TestParamInfo<Loopback::ParamType>& info) {
    const auto& [contract, num_ranks] = info.param;
    return fmt::format("{}_on_{}_ranks", contract.name, num_ranks);
}

INSTANTIATE_TEST_SUITE_P(
    Transport,
    Loopback,
    testing::Combine(testing::ValuesIn(transport_contracts()),
                     testing::Values(1, 2, 3, 4, 5)),
    name_of);
INSTANTIATE_TEST_SUITE_P(
    Collectives,
    Loopback,
    testing::Combine(testing::ValuesIn(collectives_contracts()),
                     testing::Values(1, 2, 3, 4, 5)),
    name_of);

TEST(LoopbackTransport, names_both_sizes_of_a_message_that_is_too_long) {
    const auto ranks = make_loopback(2);
    Request receive = ranks[1]->receive(0, activations, 100);
    const Request send = ranks[0]->send(1, activations, Buffer(101));

    EXPECT_THAT([&] { receive.test(); },
                ThrowsMessage<Error>(testing::AllOf(HasSubstr("101 bytes"),
                                                    HasSubstr("100 bytes"))));
}

TEST(LoopbackTransport, moves_a_message_without_copying) {
    const auto ranks = make_loopback(2);
    Buffer message(64);
    const std::byte* const bytes = message.data();
    const Request send = ranks[0]->send(1, activations, std::move(message));

    Request receive = ranks[1]->receive(0, activations, 64);
    ASSERT_TRUE(receive.test());

    EXPECT_EQ(receive.take().data(), bytes);
}

TEST(LoopbackTransport, ends_waits_for_a_rank_that_failed) {
    const auto fail_on_rank_2 = [](Transport& transport) {
        if (transport.rank() == 2) {
            throw std::runtime_error("out of luck");
        }
        Request never = transport.receive(2, activations, 1);
        EXPECT_THAT([&] { wait(never); },
                    ThrowsMessage<Error>(StrEq("rank 2 failed: out of luck")));
    };

    EXPECT_THAT([&] { run_loopback(4, fail_on_rank_2); },
                ThrowsMessage<std::runtime_error>(StrEq("out of luck")));
}

TEST(LoopbackTransport, rethrows_what_the_rank_that_failed_first_threw) {
    const auto fail = [](Transport& transport) {
        if (transport.rank() == 1) {
            throw InputError("the first failure");
        }
        barrier(transport, 0);
    };

    EXPECT_THAT([&] { run_loopback(3, fail); },
                ThrowsMessage<InputError>(StrEq("the first failure")));
}

TEST(LoopbackTransport, still_delivers_what_came_before_the_failure) {
    const auto ranks = make_loopback(2);
    const Request send = ranks[0]->send(1, activations, Buffer(3));
    abort_loopback(*ranks[0], "later");

    Request receive = ranks[1]->receive(0, activations, 3);

    EXPECT_TRUE(receive.test());
}

TEST(LoopbackRequest, does_not_wait_while_an_exception_unwinds) {
    const auto ranks = make_loopback(2);
    const auto leave_by_exception = [&] {
        const Request never = ranks[0]->receive(1, activations, 8);
        throw std::runtime_error("left");
    };

    EXPECT_THROW(leave_by_exception(), std::runtime_error);
}

TEST(LoopbackRequest, waits_on_destruction) {
    run_loopback(2, [](Transport& transport) {
        const Channel answer{MessageKind::control, 0};
        if (transport.rank() == 0) {
            { const Request unseen = transport.receive(1, activations, 8); }
            const Request send = transport.send(1, answer, Buffer());
        } else {
            Request told = transport.receive(0, answer, 0);
            EXPECT_FALSE(told.test());
            const Request send = transport.send(0, activations, Buffer(8));
            wait(told);
        }
    });
}

TEST(LoopbackRequest, finishes_its_own_message_when_it_gets_another) {
    const auto ranks = make_loopback(2);
    const Request first_send = ranks[0]->send(1, activations, Buffer(1));
    const Request second_send = ranks[0]->send(1, activations, Buffer(2));
    Request request = ranks[1]->receive(0, activations, 1);

    request = ranks[1]->receive(0, activations, 2);

    ASSERT_TRUE(request.test());
    EXPECT_EQ(request.take().size(), 2u);
}

}  // namespace
}  // namespace fusionllm::test
