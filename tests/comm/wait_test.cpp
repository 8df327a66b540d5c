#include "fusionllm/comm/wait.hpp"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

namespace fusionllm::test {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

microseconds idle_for(IdleWait& wait) {
    const auto begin = steady_clock::now();
    wait.idle();
    return std::chrono::duration_cast<microseconds>(steady_clock::now() -
                                                    begin);
}

//! The least of several rounds, so that a busy machine does not matter: a core
//! that is taken away during a yield comes back when the spinning is over.
template <class Round>
microseconds shortest(int num_rounds, Round round) {
    auto least = microseconds::max();
    for (int i = 0; i < num_rounds; ++i) {
        least = std::min(least, round());
    }
    return least;
}

//! Until it only sleeps, and sleeps long.
void wait_for(IdleWait& wait, milliseconds time) {
    const auto end = steady_clock::now() + time;
    while (steady_clock::now() < end) {
        wait.idle();
    }
}

TEST(IdleWait, yields_first_and_sleeps_five_milliseconds_in_the_end) {
    const auto at_first = shortest(100, [] {
        IdleWait fresh;
        return idle_for(fresh);
    });
    IdleWait wait;
    wait_for(wait, milliseconds(60));
    const auto in_the_end = shortest(3, [&] { return idle_for(wait); });

    EXPECT_LT(at_first, microseconds(50));
    EXPECT_GE(in_the_end, milliseconds(5));
    EXPECT_LT(in_the_end, milliseconds(50));
}

TEST(IdleWait, yields_again_after_a_reset) {
    IdleWait wait;
    const auto after_reset = shortest(20, [&] {
        wait_for(wait, milliseconds(2));
        wait.reset();
        return idle_for(wait);
    });

    EXPECT_LT(after_reset, microseconds(50));
}

TEST(IdleWait, does_not_sleep_over_a_wake_that_came_before) {
    const auto after_wake = shortest(20, [] {
        IdleWait wait;
        wait_for(wait, milliseconds(2));
        wait.wake();
        wait.idle();
        return idle_for(wait);
    });

    EXPECT_LT(after_wake, microseconds(50)) << "not reset";
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
