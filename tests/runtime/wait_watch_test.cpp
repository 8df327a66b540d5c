// Ranks that wait, on a clock that the test moves.

#include "fusionllm/runtime/wait_watch.hpp"

#include <map>
#include <memory>

#include <gtest/gtest.h>

#include "fusionllm/comm/loopback.hpp"

namespace fusionllm::test {
namespace {

constexpr Awaited forward(std::uint32_t m, int from) {
    return {MessageKind::activation, m, from};
}
constexpr Awaited backward(std::uint32_t m, int from) {
    return {MessageKind::gradient, m, from};
}

//! Ranks of a line of stages in one thread, each with its watch.
class Line {
public:
    explicit Line(int num_ranks) : transports_(make_loopback(num_ranks)) {
        std::vector<int> ranks;
        for (int rank = 0; rank < num_ranks; ++rank) {
            ranks.push_back(rank);
        }
        for (const auto& transport : transports_) {
            watches_.push_back(std::make_unique<WaitWatch>(
                *transport,
                WaitNotices{
                    10,
                    [this](const LongWait& wait) { said_.push_back(wait); }},
                make_1f1b(num_ranks, 4),
                ranks,
                [this] { return now_s_; }));
            watches_.back()->begin_step(1);
        }
    }
    ~Line() {
        for (std::size_t rank = watches_.size(); rank-- > 0;) {
            watches_[rank]->finish();
        }
    }

    //! These ranks wait for so long.
    void wait(const std::map<std::size_t, Awaited>& awaited, double seconds) {
        for (const double end_s = now_s_ + seconds; now_s_ < end_s;
             now_s_ += 0.25) {
            for (const auto& [rank, what] : awaited) {
                watches_[rank]->see(what);
            }
        }
    }
    WaitWatch& watch(std::size_t rank) { return *watches_[rank]; }
    Transport& transport(std::size_t rank) { return *transports_[rank]; }
    const std::vector<LongWait>& said() const { return said_; }

private:
    double now_s_ = 100;
    std::vector<std::unique_ptr<Transport>> transports_;
    std::vector<std::unique_ptr<WaitWatch>> watches_;
    std::vector<LongWait> said_;
};

// Stage 1 has run F1 and F2 and waits for B0; stage 2 waits for F1, which it
// did not get; stage 3 waits for stage 2, and stage 0 for stage 1.
const std::map<std::size_t, Awaited> stuck_after_stage_1{{0, backward(0, 1)},
                                                         {1, backward(0, 2)},
                                                         {2, forward(1, 1)},
                                                         {3, forward(1, 2)}};

TEST(WaitWatch, says_once_for_all_ranks_where_a_message_is_missing) {
    Line line(4);

    line.wait(stuck_after_stage_1, 12);
    EXPECT_TRUE(line.said().empty());
    line.wait(stuck_after_stage_1, 2);

    ASSERT_EQ(line.said().size(), 1u);
    EXPECT_EQ(line.said().front().rank, 2);
    EXPECT_EQ(line.said().front().awaited, forward(1, 1));
    EXPECT_NEAR(line.said().front().waited_s, 12.5, 0.5);
    EXPECT_EQ(line.said().front().moved_bytes, 0u);
}

TEST(WaitWatch, says_it_again_after_times_that_grow) {
    Line line(4);

    line.wait(stuck_after_stage_1, 160);

    std::vector<double> waited;
    for (const LongWait& wait : line.said()) {
        EXPECT_EQ(wait.rank, 2);
        waited.push_back(wait.waited_s);
    }
    ASSERT_EQ(waited.size(), 4u);  // 12.5 s, and 20, 40 and 80 s later
    for (std::size_t i = 0; i < waited.size(); ++i) {
        EXPECT_NEAR(waited[i], 12.5 + 20 * ((1 << i) - 1), 1);
    }
}

TEST(WaitWatch, says_nothing_of_waits_that_end) {
    Line line(2);

    for (std::uint32_t m = 0; m < 20; ++m) {
        line.wait({{0, backward(m, 1)}, {1, forward(m, 0)}}, 8);
    }

    EXPECT_TRUE(line.said().empty());
}

TEST(WaitWatch, says_what_its_side_of_a_broken_link_waits_for) {
    Line line(4);

    line.wait({{0, backward(0, 1)}, {1, backward(0, 2)}}, 14);

    ASSERT_EQ(line.said().size(), 1u);
    EXPECT_EQ(line.said().front().rank, 1);
    EXPECT_EQ(line.said().front().awaited, backward(0, 2));
}

TEST(WaitWatch, counts_what_has_come_meanwhile) {
    constexpr Channel channel{MessageKind::gradient, 0};
    Line line(2);
    const std::map<std::size_t, Awaited> waits{{0, backward(0, 1)}};

    line.wait(waits, 5);
    line.transport(1).send(0, channel, Buffer(1000));
    ASSERT_TRUE(line.transport(0).receive(1, channel, 1000).test());
    line.wait(waits, 9);

    ASSERT_EQ(line.said().size(), 1u);
    EXPECT_EQ(line.said().front().moved_bytes, 1000u);
}

TEST(WaitWatch, follows_the_steps_to_a_rank_that_was_not_told_to_go_on) {
    const Awaited decision{MessageKind::control, 0, 0};
    const std::map<int, LongWait> waits{{0, {0, 2, backward(0, 1), 20, 0}},
                                        {1, {1, 2, backward(0, 2), 20, 0}},
                                        {2, {2, 1, decision, 20, 0}}};

    const LongWait cause = find_cause(waits, 0, make_1f1b(3, 4), {0, 1, 2});

    EXPECT_EQ(cause.rank, 2);
    EXPECT_EQ(cause.awaited, decision);
}

TEST(WaitWatch, knows_that_shared_gradients_and_reports_come_last) {
    const Awaited gradients{MessageKind::parameter_gradient, 0, 2};
    const Awaited report{MessageKind::control, 0, 2};
    const Awaited decision{MessageKind::control, 0, 0};
    const auto cause = [](const Awaited& of_0, const Awaited& of_2) {
        return find_cause({{0, {0, 1, of_0, 20, 0}}, {2, {2, 1, of_2, 20, 0}}},
                          0,
                          make_1f1b(3, 4),
                          {0, 1, 2})
            .rank;
    };

    EXPECT_EQ(cause(gradients, forward(3, 1)), 2);
    EXPECT_EQ(cause(gradients, decision), 0);
    EXPECT_EQ(cause(report, forward(3, 1)), 2);
    EXPECT_EQ(cause(report, decision), 0);
    const Awaited trial{MessageKind::control, 0, 2, true};
    EXPECT_EQ(cause(trial, trial), 0);
    EXPECT_EQ(cause(trial, forward(3, 1)), 2);
    EXPECT_EQ(cause(report, {MessageKind::control, 0, 1, true}), 2);
    const Awaited receipt{MessageKind::control, 3, 2, false, true};
    EXPECT_EQ(cause(receipt, forward(3, 0)), 2);
    EXPECT_EQ(cause(receipt, {MessageKind::control, 3, 1, false, true}), 2);
    EXPECT_EQ(cause(receipt, decision), 0);
    EXPECT_EQ(cause(report, {MessageKind::control, 3, 1, false, true}), 2);
    EXPECT_EQ(cause(forward(5, 2), {MessageKind::control, 3, 0, false, true}),
              0);
}

}  // namespace
}  // namespace fusionllm::test
