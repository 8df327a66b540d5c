#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>

#include "fusionllm/comm/transport.hpp"

namespace fusionllm {

//! The message that somebody waits for.
struct Awaited {
    MessageKind kind = MessageKind::control;
    std::uint32_t micro_batch = 0;  //!< of activations and gradients
    int from_rank = 0;
    bool is_of_trial = false;  //!< of the link, between steps; kind control
    //! That an evaluation's forward was taken; kind control.
    bool is_receipt = false;

    friend bool operator==(const Awaited&, const Awaited&) = default;
};

/*!
 * Waits without burning the core: yield for 0.1 ms, then sleep an eighth of the
 * time waited so far, at least 50 us and at most 5 ms.
 *
 * Call `idle` when there was nothing to do and `reset` when there was. Another
 * thread ends a sleep by `wake`. (64 KiB exchange: 7 us when spinning,
 * 0.26 ms when polling every 50 us.)
 */
class IdleWait {
public:
    void idle();
    //! The same; whoever watches hears what it is for.
    void idle(const Awaited& awaited);
    void reset();
    void wake();
    //! Called by `idle` where it sleeps, with what is waited for.
    void watch(std::function<void(const Awaited&)> watcher);

private:
    std::mutex mutex_;
    std::condition_variable condition_;
    bool is_woken_ = false;
    bool is_spinning_ = true;
    std::optional<std::chrono::steady_clock::time_point> begin_;
    std::function<void(const Awaited&)> watcher_;
};

//! Test the request until it is done, idling in between.
void wait(Request& request);
//! The same, for this message.
void wait(Request& request, IdleWait& idle_wait, const Awaited& awaited);

}  // namespace fusionllm
