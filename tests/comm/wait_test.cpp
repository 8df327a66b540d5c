#include "fusionllm/comm/wait.hpp"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

namespace fusionllm::test {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

//! Shortest of several calls, so that a busy machine does not matter.
microseconds shortest_idle(IdleWait& wait, int num_calls) {
    auto shortest = microseconds::max();
    for (int i = 0; i < num_calls; ++i) {
        const auto begin = steady_clock::now();
        wait.idle();
        shortest = std::min(shortest,
                            std::chrono::duration_cast<microseconds>(
                                steady_clock::now() - begin));
    }
    return shortest;
}

//! Until it only sleeps, and sleeps long.
void wait_for(IdleWait& wait, milliseconds time) {
    const auto end = steady_clock::now() + time;
    while (steady_clock::now() < end) {
        wait.idle();
    }
}

TEST(IdleWait, yields_first_and_sleeps_five_milliseconds_in_the_end) {
    IdleWait wait;

    const auto at_first = shortest_idle(wait, 100);
    wait_for(wait, milliseconds(60));
    const auto in_the_end = shortest_idle(wait, 3);

    EXPECT_LT(at_first, microseconds(50));
    EXPECT_GE(in_the_end, milliseconds(5));
    EXPECT_LT(in_the_end, milliseconds(50));
}

TEST(IdleWait, yields_again_after_a_reset) {
    IdleWait wait;
    wait_for(wait, milliseconds(10));

    wait.reset();

    EXPECT_LT(shortest_idle(wait, 100), microseconds(50));
}

TEST(IdleWait, does_not_sleep_over_a_wake_that_came_before) {
    IdleWait wait;
    wait_for(wait, milliseconds(10));
    wait.wake();

    wait.idle();

    EXPECT_LT(shortest_idle(wait, 100), microseconds(50)) << "not reset";
}

TEST(IdleWait, is_woken_by_another_thread) {
    IdleWait wait;
    std::atomic<bool> is_done = false;
    const std::jthread worker([&] {
        is_done = true;
        wait.wake();
    });

    while (!is_done) {
        wait.idle();
    }

    EXPECT_TRUE(is_done);
}

}  // namespace
}  // namespace fusionllm::test
