#include "fusionllm/comm/wait.hpp"

#include <algorithm>
#include <thread>
#include <utility>

namespace fusionllm {
namespace {

using std::chrono::microseconds;

//! Enough for a small message between idle cores. Whoever tests for a message
//! over TCP makes a system call each time, so a number of yields would be a
//! millisecond there, taken from the ranks and the kernel that share the cores.
constexpr microseconds longest_spin{100};
constexpr microseconds shortest_sleep{50};
constexpr microseconds longest_sleep{5000};
//! A message that comes during a sleep is late by at most this part of the
//! time waited for it; doubling sleeps were late by up to all of it.
constexpr int waited_per_sleep = 8;

}  // namespace

void IdleWait::idle() {
    const auto now = std::chrono::steady_clock::now();
    if (!begin_) {
        begin_ = now;
    }
    const auto waited = std::chrono::duration_cast<microseconds>(now - *begin_);
    is_spinning_ = waited < longest_spin;
    if (is_spinning_) {
        std::this_thread::yield();
        return;
    }
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
    if (watcher_ && begin_ && !is_spinning_) {
        watcher_(awaited);
    }
}

void IdleWait::watch(std::function<void(const Awaited&)> watcher) {
    watcher_ = std::move(watcher);
}

void IdleWait::reset() {
    begin_.reset();
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
