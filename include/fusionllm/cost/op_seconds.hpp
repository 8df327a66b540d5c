#pragma once

#include <string>
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
 * no backward time, a view no more than the overhead. Either way the backward
 * adds what `estimate_accumulate_s` says. `half_flops_per_s` is the peak of ops
 * whose first output is f16 or bf16.
 *
 * Throws `InputError` for a device without speed, or if graph and workload do
 * not have equally many ops.
 */
std::vector<OpSeconds> estimate_op_seconds(const OpGraph& graph,
                                           const Workload& workload,
                                           const DeviceKind& device);

//! The formula for one op, measured or not, in full precision; nothing is added
//! to the backward.
OpSeconds estimate_by_formula(const OpCost& cost, const DeviceKind& device);

//! Adding a micro-batch's gradients to the sums of the parameters: three passes
//! at elementwise efficiency.
double estimate_accumulate_s(double bytes, const DeviceKind& device);

//! Encoding a dense message of so many bytes, or decoding it: a copy.
double estimate_copy_s(double bytes, const DeviceKind& device);

//! A step's update of so many bytes of parameters, gradient norm included.
double estimate_update_s(double parameter_bytes, const DeviceKind& device);

/*!
 * What a measurement is filed under: target, types read and, after "->", types
 * made: "aten::addmm f32[1536] f32[512,384] f32[384,1536] -> f32[512,1536]".
 * The name and the numbers of the op do not enter.
 */
std::string op_signature(const OpGraph& graph, const Op& op);

}  // namespace fusionllm
