#pragma once

#include <cstddef>
#include <deque>

#include "fusionllm/comm/transport.hpp"

namespace fusionllm {

/*!
 * The messages of one boundary value in one direction, in micro-batch order.
 *
 * At most `window` of them are posted or waiting here, which bounds memory.
 */
class ReceiveQueue {
public:
    ReceiveQueue(Transport& transport,
                 int source,
                 Channel channel,
                 std::size_t max_bytes,
                 int count,
                 int window)
        : transport_(transport),
          source_(source),
          channel_(channel),
          max_bytes_(max_bytes),
          num_to_post_(count),
          window_(static_cast<std::size_t>(window)) {
        post();
    }

    //! Take in what has come; true if there was something.
    bool progress() {
        bool has_progress = false;
        while (!posted_.empty() && posted_.front().test()) {
            arrived_.push_back(posted_.front().take());
            posted_.pop_front();
            has_progress = true;
        }
        return has_progress;
    }

    //! Whether a part of a message has come.
    bool is_inside() const {
        return !posted_.empty() && posted_.front().received_bytes() > 0;
    }
    bool has_message() const { return !arrived_.empty(); }

    Buffer take() {
        Buffer message = std::move(arrived_.front());
        arrived_.pop_front();
        post();
        return message;
    }

private:
    void post() {
        while (num_to_post_ > 0 && posted_.size() + arrived_.size() < window_) {
            posted_.push_back(
                transport_.receive(source_, channel_, max_bytes_));
            --num_to_post_;
        }
    }

    Transport& transport_;
    int source_;
    Channel channel_;
    std::size_t max_bytes_;
    int num_to_post_;
    std::size_t window_;
    std::deque<Request> posted_;
    std::deque<Buffer> arrived_;
};

}  // namespace fusionllm
