#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fusionllm/cost/fit_device.hpp"
#include "fusionllm/graph/op_graph.hpp"
#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm {

//! How ops are measured.
struct MeasureOptions {
    at::Device device{at::kCPU};
    std::uint64_t seed = 0;  //!< of the first parameters
    int warmup = 3;          //!< micro-batches that do not count
    int repeats = 10;        //!< micro-batches that count
};

/*!
 * The median times of every distinct op (by `op_signature`) of a graph.
 *
 * Runs whole micro-batches, forward and backward, as a stage that holds the
 * whole graph would, and looks at the clock between ops: so every op finds
 * memory and caches as in training. An op's backward goes from when the
 * gradient of its output is there until that of the next op's is; adding the
 * gradients of a value's several users counts, adding up parameter gradients
 * over micro-batches does not. On the host with one thread the times are
 * processor times, so that other programs disturb less. All activations of a
 * micro-batch and the parameters must fit the device. Set threads and memory
 * before
 * (`set_num_threads`, `keep_freed_memory`), and let Kokkos live.
 *
 * \param inputs by `graph.signature().inputs`
 * \return in canonical order of their first ops
 * Throws `InputError` if the inputs do not fit or this LibTorch lacks an op.
 */
std::vector<MeasuredOpCost> measure_ops(const OpGraph& graph,
                                        const std::vector<HostTensor>& inputs,
                                        const MeasureOptions& options);

/*!
 * What the device reaches outside the ops: `flops_per_s` by one large product
 * and `memory_bandwidth_bytes_per_s` by one large copy (the fastest of the
 * repeats), `copy_bytes_per_s` by encoding a message of 4 MiB and
 * `update_bytes_per_s` by updates of the graph's parameters by AdamW, gradient
 * norm and clipping included (medians). The rest is left as it is in
 * `DeviceKind{}`.
 */
DeviceKind measure_rates(const OpGraph& graph, const MeasureOptions& options);

}  // namespace fusionllm
