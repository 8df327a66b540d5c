#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>

#include "fusionllm/comm/transport.hpp"

namespace fusionllm {

/*!
 * Waits without burning the core: yield, then sleep an eighth of the time
 * waited so far, at least 50 us and at most 5 ms.
 *
 * Call `idle` when there was nothing to do and `reset` when there was. Another
 * thread ends a sleep by `wake`. (64 KiB exchange: 7 us when spinning,
 * 0.26 ms when polling every 50 us.)
 */
class IdleWait {
public:
    void idle();
    void reset();
    void wake();

private:
    std::mutex mutex_;
    std::condition_variable condition_;
    bool is_woken_ = false;
    int num_yields_ = 0;
    std::chrono::steady_clock::time_point begin_;  // of the sleeps
};

//! Test the request until it is done, idling in between.
void wait(Request& request);

}  // namespace fusionllm
