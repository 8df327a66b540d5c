#include "fusionllm/comm/wait.hpp"

#include <algorithm>
#include <thread>
#include <utility>

namespace fusionllm {
namespace {

using std::chrono::microseconds;

//! About 0.1 ms, enough for a small message between idle cores.
constexpr int max_yields = 200;
constexpr microseconds shortest_sleep{50};
constexpr microseconds longest_sleep{5000};
//! A message that comes during a sleep is late by at most this part of the
//! time waited for it; doubling sleeps were late by up to all of it.
constexpr int waited_per_sleep = 8;

}  // namespace

void IdleWait::idle() {
    if (num_yields_ < max_yields) {
        ++num_yields_;
        std::this_thread::yield();
        return;
    }
    if (num_yields_ == max_yields) {
        ++num_yields_;
        begin_ = std::chrono::steady_clock::now();
    }
    const auto waited = std::chrono::duration_cast<microseconds>(
        std::chrono::steady_clock::now() - begin_);
    const auto sleep =
        std::clamp(waited / waited_per_sleep, shortest_sleep, longest_sleep);
    std::unique_lock lock(mutex_);
    if (condition_.wait_for(lock, sleep, [this] { return is_woken_; })) {
        is_woken_ = false;
        reset();
    }
}

void IdleWait::idle(const Awaited& awaited) {
    idle();
    if (watcher_ && num_yields_ > max_yields) {
        watcher_(awaited);
    }
}

void IdleWait::watch(std::function<void(const Awaited&)> watcher) {
    watcher_ = std::move(watcher);
}

void IdleWait::reset() {
    num_yields_ = 0;
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

void wait(Request& request, IdleWait& idle_wait, const Awaited& awaited) {
    idle_wait.reset();
    while (!request.test()) {
        idle_wait.idle(awaited);
    }
}

}  // namespace fusionllm
