#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "fusionllm/cost/workload.hpp"
#include "fusionllm/topology/device_kind.hpp"

namespace fusionllm {

//! An op as it was measured, with what the cost table says of it.
struct MeasuredOpCost {
    std::string signature;
    OpCost cost;
    double forward_s = 0;
    double backward_s = 0;  //!< without adding up parameter gradients
    std::size_t count = 1;  //!< ops of the graph with this signature

    friend bool operator==(const MeasuredOpCost&,
                           const MeasuredOpCost&) = default;
};

/*!
 * The device with the op overhead, efficiencies and measured times that fit
 * the ops best; its peak and memory bandwidth must be known.
 *
 * The overhead is the median time of views, either direction (weighted by
 * count), or as it was without views. Then, for each kind and direction, 1 /
 * lambda is the median of (time - overhead) / max(flops / peak, bytes /
 * bandwidth), each op weighted by its count and by that maximum: the lambda
 * with the least sum of absolute errors in seconds, so that one outlier moves
 * nothing. A kind that was not measured gets the nearest relative's: a
 * convolution that of products and vice versa, attention that of products,
 * others the elementwise one; without it, it stays as it was. Ops without a
 * row count with kind `other`.
 *
 * Throws `InputError` if peak or bandwidth is not positive.
 */
DeviceKind fit_device_kind(DeviceKind known,
                           const std::vector<MeasuredOpCost>& ops);

/*!
 * Mean absolute error of the formula, relative and weighted by measured time:
 * sum |predicted - measured| / sum measured, over all ops and both directions.
 * What the device has measured does not enter. 0 without ops.
 */
double mean_relative_error(const DeviceKind& device,
                           const std::vector<MeasuredOpCost>& ops);

}  // namespace fusionllm
