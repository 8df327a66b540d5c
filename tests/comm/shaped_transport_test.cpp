// Messages come when the links of a testbed would bring them, on a clock that
// the tests move.

#include "fusionllm/comm/shaped_transport.hpp"

#include <atomic>
#include <limits>

#include <gtest/gtest.h>

#include "fusionllm/comm/loopback.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/timing.hpp"

#include "transport_contract.hpp"

namespace fusionllm::test {
namespace {

constexpr double no_limit = std::numeric_limits<double>::infinity();
constexpr Channel forward{MessageKind::activation, 3};
constexpr Channel backward{MessageKind::gradient, 3};

//! Every path alike, without lines.
ShapedLinks make_links(int num_ranks, double latency_s, double bytes_per_s) {
    ShapedLinks links;
    links.num_ranks = num_ranks;
    links.paths.assign(static_cast<std::size_t>(num_ranks * num_ranks),
                       {latency_s, bytes_per_s, {}});
    return links;
}

//! Ranks of one thread, and a clock that stands still unless it is moved.
class Testbed {
public:
    explicit Testbed(ShapedLinks links)
        : inner_(make_loopback(links.num_ranks)) {
        const auto shared =
            share_links(std::move(links), [this] { return 1000 + now_s_; });
        for (const auto& transport : inner_) {
            ranks_.push_back(
                std::make_unique<ShapedTransport>(*transport, shared));
        }
    }

    Request send(int from, int to, Channel channel, std::size_t num_bytes) {
        return ranks_[static_cast<std::size_t>(from)]->send(
            to, channel, Buffer(num_bytes));
    }
    Request receive(int from, int to, Channel channel) {
        return ranks_[static_cast<std::size_t>(to)]->receive(
            from, channel, 1 << 20);
    }
    void set(double now_s) { now_s_ = now_s; }
    ShapedTransport& rank(int rank) {
        return *ranks_[static_cast<std::size_t>(rank)];
    }

    //! That the request is done at this time, and not a microsecond before.
    void expect_done_at(Request& request, double at_s) {
        set(at_s - 1e-6);
        EXPECT_FALSE(request.test()) << "before " << at_s;
        set(at_s + 1e-6);
        EXPECT_TRUE(request.test()) << "at " << at_s;
    }

private:
    std::vector<std::unique_ptr<Transport>> inner_;
    std::vector<std::unique_ptr<ShapedTransport>> ranks_;
    double now_s_ = 0;
};

TEST(ShapedTransport, delays_by_bytes_and_then_by_latency) {
    Testbed bed(make_links(2, 0.05, 1000));
    Request receive = bed.receive(0, 1, forward);
    Request send = bed.send(0, 1, forward, 200);

    bed.expect_done_at(send, 0.2);
    bed.expect_done_at(receive, 0.25);
    EXPECT_EQ(receive.take().size(), 200u);
}

TEST(ShapedTransport, asks_for_long_messages_and_lets_none_overtake) {
    ShapedLinks links = make_links(2, 0.05, 1000);
    links.paths[1].eager_bytes = 100;
    links.paths[1].rendezvous_s = 0.3;
    Testbed bed(links);
    Request first = bed.receive(0, 1, forward);
    Request second = bed.receive(0, 1, backward);
    Request a = bed.send(0, 1, forward, 200);
    Request b = bed.send(0, 1, backward, 100);

    bed.expect_done_at(a, 0.2);
    bed.expect_done_at(b, 0.3);
    bed.expect_done_at(first, 0.55);
    EXPECT_TRUE(second.test());
    Request third = bed.receive(0, 1, forward);
    Request c = bed.send(0, 1, forward, 100);
    bed.expect_done_at(third, 0.550001 + 0.15);
    EXPECT_TRUE(c.test());
}

TEST(ShapedTransport, holds_up_who_sends_to_one_that_is_far_behind) {
    constexpr std::size_t num_messages = 3000;  // more than there is room for
    Testbed bed(make_links(2, 0, no_limit));
    std::vector<Request> sends;
    for (std::size_t i = 0; i < num_messages; ++i) {
        sends.push_back(bed.send(0, 1, forward, i));
    }
    EXPECT_TRUE(sends.front().test());
    EXPECT_FALSE(sends.back().test());

    for (std::size_t i = 0; i < num_messages; ++i) {
        Request receive = bed.receive(0, 1, forward);
        for (std::size_t k = i; k < num_messages && !receive.test(); ++k) {
            sends[k].test();
        }
        ASSERT_TRUE(receive.test()) << i;
        EXPECT_EQ(receive.take().size(), i);
    }
    EXPECT_TRUE(sends.back().test());
}

TEST(ShapedTransport, starts_what_it_held_up_while_its_rank_waits) {
    constexpr std::size_t num_messages = 3000;  // more than there is room for
    Testbed bed(make_links(2, 0, no_limit));
    std::vector<Request> sends;
    for (std::size_t i = 0; i < num_messages; ++i) {
        sends.push_back(bed.send(0, 1, forward, i));
    }
    Request answer = bed.receive(1, 0, backward);

    for (std::size_t i = 0; i < num_messages; ++i) {
        EXPECT_FALSE(answer.test());
        Request receive = bed.receive(0, 1, forward);
        if (!receive.test()) {
            // A failed assertion would wait for it.
            throw Error(fmt::format("message {} never started", i));
        }
        EXPECT_EQ(receive.take().size(), i);
    }

    bed.send(1, 0, backward, 1).test();
    EXPECT_TRUE(answer.test());
}

TEST(ShapedTransport, sends_one_message_after_another_on_a_path) {
    Testbed bed(make_links(2, 0.05, 1000));
    Request a = bed.send(0, 1, forward, 100);
    Request b = bed.send(0, 1, backward, 100);
    Request first = bed.receive(0, 1, forward);
    Request second = bed.receive(0, 1, backward);

    bed.expect_done_at(first, 0.15);
    bed.expect_done_at(second, 0.25);
    EXPECT_TRUE(a.test() && b.test());
}

TEST(ShapedTransport, carries_both_directions_at_once) {
    Testbed bed(make_links(2, 0, 1000));
    Request a = bed.send(0, 1, forward, 100);
    Request b = bed.send(1, 0, backward, 100);

    bed.expect_done_at(a, 0.1);
    EXPECT_TRUE(b.test());
    bed.receive(0, 1, forward).test();
}

TEST(ShapedTransport, goes_on_where_it_was_after_a_pause) {
    Testbed bed(make_links(2, 0, 1000));
    Request a = bed.send(0, 1, forward, 100);
    bed.expect_done_at(a, 0.1);
    bed.set(5);
    Request b = bed.send(0, 1, forward, 100);
    bed.expect_done_at(b, 5.1);
    Request first = bed.receive(0, 1, forward);
    Request second = bed.receive(0, 1, forward);

    EXPECT_TRUE(second.test());
    EXPECT_TRUE(first.test());
}

// 0 to 2 and 1 to 2 over one line of 1000 bytes a second.
ShapedLinks make_shared() {
    ShapedLinks links = make_links(3, 0, no_limit);
    links.line_bytes_per_s = {1000};
    for (const int from : {0, 1}) {
        links.paths[static_cast<std::size_t>(3 * from + 2)] = {0, 1000, {0}};
    }
    return links;
}

TEST(ShapedTransport, shares_a_line_while_two_paths_carry) {
    Testbed bed(make_shared());
    Request a = bed.send(0, 2, forward, 300);
    bed.set(0.1);  // 200 left
    Request b = bed.send(1, 2, forward, 100);

    // b alone would need 0.1 s; half of the line takes it 0.2 s.
    bed.expect_done_at(b, 0.3);
    // a has 100 left then, and the line to itself again.
    bed.expect_done_at(a, 0.4);
}

TEST(ShapedTransport, keeps_its_times_whoever_looks_and_when) {
    Testbed often(make_shared());
    Testbed seldom(make_shared());
    for (Testbed* bed : {&often, &seldom}) {
        Request a = bed->send(0, 2, forward, 300);
        Request b = bed->send(1, 2, forward, 100);
        for (double at_s = 0; bed == &often && at_s < 0.2; at_s += 0.003) {
            bed->set(at_s);
            EXPECT_FALSE(a.test() || b.test());
        }
        bed->expect_done_at(b, 0.2);
        bed->expect_done_at(a, 0.4);
    }
}

TEST(ShapedTransport, carries_nothing_during_an_outage) {
    ShapedLinks links = make_shared();
    links.changes = {{0, 0.1, 5.1, 0}};
    Testbed bed(std::move(links));
    Request send = bed.send(0, 2, forward, 200);

    bed.expect_done_at(send, 5.2);
}

TEST(ShapedTransport, slows_a_line_in_the_middle_of_a_message) {
    ShapedLinks links = make_shared();
    links.changes = {{0, 0.1, no_limit, 0.1}};
    Testbed bed(std::move(links));
    Request send = bed.send(0, 2, forward, 200);

    bed.set(0.6);
    EXPECT_NEAR(bed.rank(0).sent_bytes(2), 100 + 50, 1e-6);
    bed.expect_done_at(send, 1.1);
    EXPECT_EQ(bed.rank(0).sent_bytes(2), 200);
}

TEST(ShapedTransport, tells_what_has_come_of_a_message_under_way) {
    Testbed bed(make_links(2, 0.05, 1000));
    Request first = bed.receive(0, 1, forward);
    Request second = bed.receive(0, 1, backward);
    EXPECT_EQ(first.received_bytes(), 0u);
    Request a = bed.send(0, 1, forward, 200);
    Request b = bed.send(0, 1, backward, 200);
    EXPECT_EQ(first.received_bytes(), 0u);

    bed.set(0.15001);
    EXPECT_EQ(first.received_bytes(), 150u);
    EXPECT_EQ(second.received_bytes(), 0u);
    bed.set(0.22001);  // all of it has left, and is not there yet
    EXPECT_EQ(first.received_bytes(), 0u);
    EXPECT_EQ(second.received_bytes(), 20u);
    bed.set(0.3);
    EXPECT_TRUE(first.test());
    EXPECT_EQ(first.received_bytes(), 0u);
    bed.expect_done_at(second, 0.45);
    EXPECT_TRUE(a.test() && b.test());
}

TEST(ShapedTransport, draws_jitter_from_the_seed_and_lets_nobody_overtake) {
    const auto arrivals = [](std::uint64_t seed) {
        ShapedLinks links = make_links(2, 1, no_limit);
        links.jitter_s = 0.5;
        links.seed = seed;
        Testbed bed(std::move(links));
        std::vector<Request> sends;
        std::vector<Request> receives;
        for (int i = 0; i < 20; ++i) {
            sends.push_back(bed.send(0, 1, forward, 10));
            receives.push_back(bed.receive(0, 1, forward));
        }
        std::vector<double> at_s(20, 0);
        for (double now_s = 0; now_s < 2; now_s += 0.01) {
            bed.set(now_s);
            for (std::size_t i = 0; i < 20; ++i) {
                if (at_s[i] == 0 && receives[i].test()) {
                    at_s[i] = now_s;
                }
            }
        }
        return at_s;
    };

    const auto first = arrivals(1);

    EXPECT_EQ(arrivals(1), first);
    EXPECT_NE(arrivals(2), first);
    EXPECT_TRUE(std::ranges::is_sorted(first));
    EXPECT_GE(first.front(), 1);
    EXPECT_LE(first.back(), 1.51);
}

TEST(ShapedTransport, refuses_a_machine_that_cannot_keep_up) {
    EXPECT_NO_THROW(check_pace(100, 9, "messages came"));
    EXPECT_NO_THROW(check_pace(0.1, 1.9, "messages came"));
    try {
        check_pace(10, 5, "messages came");
        FAIL();
    } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find("time_scale, to at least 1.5"),
                  std::string::npos)
            << error.what();
    }
}

class Shaped : public testing::TestWithParam<TransportContract> {};

TEST_P(Shaped, keeps_the_contract_of_a_transport) {
    for (const int num_ranks : {1, 3}) {
        const auto shared =
            share_links(make_links(num_ranks, 1e-4, 1e11), monotonic_s);
        run_loopback(num_ranks, [&](Transport& inner) {
            ShapedTransport transport(inner, shared);
            GetParam().body(transport);
        });
    }
}

INSTANTIATE_TEST_SUITE_P(Contract,
                         Shaped,
                         testing::ValuesIn(transport_contracts()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace fusionllm::test
