#include "fusionllm/comm/wait.hpp"

#include <algorithm>
#include <thread>

namespace fusionllm {
namespace {

using std::chrono::microseconds;

//! About 0.1 ms, enough for a small message between idle cores.
constexpr int max_yields = 200;
constexpr microseconds shortest_sleep{50};
constexpr microseconds longest_sleep{5000};

}  // namespace

void IdleWait::idle() {
    if (num_yields_ < max_yields) {
        ++num_yields_;
        std::this_thread::yield();
        return;
    }
    std::unique_lock lock(mutex_);
    if (condition_.wait_for(lock, sleep_, [this] { return is_woken_; })) {
        is_woken_ = false;
        reset();
    } else {
        sleep_ = std::min(2 * sleep_, longest_sleep);
    }
}

void IdleWait::reset() {
    num_yields_ = 0;
    sleep_ = shortest_sleep;
}

void IdleWait::wake() {
    const std::lock_guard lock(mutex_);
    is_woken_ = true;
    condition_.notify_one();
}

void wait(Request& request) {
    IdleWait idle_wait;
    while (!request.test()) {
        idle_wait.idle();
    }
}

}  // namespace fusionllm
