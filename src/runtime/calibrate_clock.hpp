#pragma once

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>

#include "fusionllm/util/timing.hpp"

namespace fusionllm::detail {

//! The time when the device has done what it was given.
inline double device_time_s(at::Device device) {
    if (!device.is_cpu()) {
        // A copy to the host waits for what was queued before it.
        at::zeros({}, at::TensorOptions().device(device)).item<float>();
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
