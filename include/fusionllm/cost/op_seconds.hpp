#pragma once

#include <vector>

#include "fusionllm/cost/workload.hpp"
#include "fusionllm/topology/device_kind.hpp"

namespace fusionllm {

//! How long an op takes for one micro-batch.
struct OpSeconds {
    double forward_s = 0;
    double backward_s = 0;

    friend bool operator==(const OpSeconds&, const OpSeconds&) = default;
};

/*!
 * Seconds of every op of the graph on a device, by canonical position.
 *
 * The measured time where the device has one for the op's signature, else
 *
 *     overhead + max(flops / (lambda peak), bytes / (lambda memory bandwidth))
 *
 * with the efficiency lambda of the op's kind and direction
 * (docs/architecture.md; the formula is ours). An op without a backward takes
 * no backward time, a view no more than the overhead.
 */
std::vector<OpSeconds> estimate_op_seconds(const OpGraph& graph,
                                           const Workload& workload,
                                           const DeviceKind& device);

//! "aten::addmm f32[1536] f32[512,384] f32[384,1536]": what a measurement is
//! filed under. The name and numbers of the op do not enter.
std::string op_signature(const OpGraph& graph, const Op& op);

}  // namespace fusionllm
