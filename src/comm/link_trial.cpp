#include "fusionllm/comm/link_trial.hpp"

#include <algorithm>
#include <cstring>
#include <deque>
#include <thread>

namespace fusionllm {
namespace {

constexpr std::size_t answer_bytes = 8;
constexpr std::size_t num_ahead = 8;

Buffer make_zeros(std::size_t num_bytes) {
    Buffer buffer(num_bytes);
    std::memset(buffer.data(), 0, num_bytes);
    return buffer;
}

void finish(Request& request, const TrialWait& wait) {
    while (!request.test()) {
        wait(false);
    }
    wait(true);
}

}  // namespace

void spin(bool has_progress) {
    if (!has_progress) {
        std::this_thread::yield();
    }
}

LinkTrial TrialSender::trial() {
    return {[this](std::size_t bytes) { return stream(bytes, 1).front(); },
            [this](std::size_t bytes, int num) { return stream(bytes, num); }};
}

//! Seconds to the answer of each.
std::vector<double> TrialSender::stream(std::size_t num_bytes, int num) {
    const double begin_s = clock_();
    std::deque<Request> answers;
    std::deque<Request> messages;
    for (int i = 0; i < num; ++i) {
        answers.push_back(
            transport_.receive(to_, channels_.back, answer_bytes));
        messages.push_back(
            transport_.send(to_, channels_.there, make_zeros(num_bytes)));
    }
    std::vector<double> times_s;
    while (!answers.empty()) {
        if (!messages.empty() && messages.front().test()) {
            messages.pop_front();
        }
        const bool is_answered = answers.front().test();
        if (is_answered) {
            times_s.push_back(clock_() - begin_s);
            answers.pop_front();
        }
        wait_(is_answered);
    }
    for (Request& message : messages) {
        finish(message, wait_);
    }
    return times_s;
}

//! Messages that no measurement sends, one for each receive that waits.
void TrialSender::end() {
    for (std::size_t i = 0; i < num_ahead; ++i) {
        Request message = transport_.send(to_, channels_.there, make_zeros(1));
        finish(message, wait_);
    }
}

//! With receives ahead, as a pipeline has them: what MPI asks for is granted
//! while other messages come.
void answer_trials(Transport& transport,
                   int from,
                   TrialChannels channels,
                   std::size_t largest_bytes,
                   const TrialWait& wait) {
    const std::size_t most = std::max(largest_bytes, answer_bytes);
    std::deque<Request> messages;
    for (std::size_t num_ends = 0; num_ends < num_ahead;) {
        while (messages.size() + num_ends < num_ahead) {
            messages.push_back(transport.receive(from, channels.there, most));
        }
        finish(messages.front(), wait);
        const std::size_t num_bytes = messages.front().take().size();
        messages.pop_front();
        if (num_bytes == 1) {
            ++num_ends;
            continue;
        }
        Request reply =
            transport.send(from, channels.back, make_zeros(answer_bytes));
        finish(reply, wait);
    }
}

}  // namespace fusionllm
