#pragma once

#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "fusionllm/comm/transport.hpp"

namespace fusionllm {

//! What one end can try out on a link.
struct LinkTrial {
    //! Seconds from sending so many bytes to the small answer.
    std::function<double(std::size_t bytes)> exchange_s;
    //! So many such messages sent at once: seconds to the answer of each.
    std::function<std::vector<double>(std::size_t bytes, int num)> stream_s;
};

//! The channels of a trial: what is sent, and the small answers.
struct TrialChannels {
    Channel there;
    Channel back;
};

//! Called again and again while nothing happens, and once when something did.
using TrialWait = std::function<void(bool has_progress)>;

//! Without sleeping, for what takes microseconds.
void spin(bool has_progress);

/*!
 * One direction of a pair of ranks, from the one who sends; the other one
 * answers every message with a small one (`answer_trials`).
 */
class TrialSender {
public:
    //! \param clock seconds
    TrialSender(Transport& transport,
                int to,
                TrialChannels channels,
                std::function<double()> clock,
                TrialWait wait)
        : transport_(transport),
          to_(to),
          channels_(channels),
          clock_(std::move(clock)),
          wait_(std::move(wait)) {}

    LinkTrial trial();
    //! Lets the other one go; the last thing to do.
    void end();

private:
    std::vector<double> stream(std::size_t num_bytes, int num);

    Transport& transport_;
    int to_;
    TrialChannels channels_;
    std::function<double()> clock_;
    TrialWait wait_;
};

//! Until the sender ends. No message may be larger than `largest_bytes`.
void answer_trials(Transport& transport,
                   int from,
                   TrialChannels channels,
                   std::size_t largest_bytes,
                   const TrialWait& wait);

}  // namespace fusionllm
