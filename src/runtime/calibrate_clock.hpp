#pragma once

#include <algorithm>
#include <ctime>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "fusionllm/util/timing.hpp"

namespace fusionllm::detail {

/*!
 * The time when the device has done what it was given; only differences mean
 * something. On the host with one thread it is the thread's processor time, so
 * that other programs disturb less.
 */
inline double device_time_s(at::Device device) {
    if (!device.is_cpu()) {
        // A copy to the host waits for what was queued before it.
        at::zeros({}, at::TensorOptions().device(device)).item<float>();
    } else if (at::get_num_threads() == 1) {
        timespec time{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return static_cast<double>(time.tv_sec) +
               1e-9 * static_cast<double>(time.tv_nsec);
    }
    return monotonic_s();
}

//! Of at least one number.
inline double median(std::vector<double> values) {
    const auto middle =
        values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    return *middle;
}

}  // namespace fusionllm::detail
