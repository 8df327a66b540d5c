#pragma once

#include "fusionllm/util/timing.hpp"

namespace fusionllm {

//! Seconds in which at least one of several things went on.
class BusyClock {
public:
    void begin() {
        if (num_running_++ == 0) {
            since_s_ = monotonic_s();
        }
    }
    void end() {
        if (--num_running_ == 0) {
            busy_s_ += monotonic_s() - since_s_;
        }
    }
    //! Since the last call; what still goes on counts up to now.
    double take_s() {
        if (num_running_ > 0) {
            const double now_s = monotonic_s();
            busy_s_ += now_s - since_s_;
            since_s_ = now_s;
        }
        const double busy_s = busy_s_;
        busy_s_ = 0;
        return busy_s;
    }

private:
    int num_running_ = 0;
    double since_s_ = 0;
    double busy_s_ = 0;
};

}  // namespace fusionllm
