#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "fusionllm/exec/first_values.hpp"
#include "fusionllm/graph/op_graph.hpp"
#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm {

//! The first value of a parameter (host memory), a function of (seed, name).
HostTensor initial_value(const OpGraph& graph,
                         const Parameter& parameter,
                         std::uint64_t seed);

/*!
 * The first value of a parameter or buffer, on the device.
 *
 * Asks for the given one once and holds at most a few MiB of it twice, so that
 * a rank that makes its tensors one by one never needs much more memory than
 * they have. Throws `InputError` if the given one is of another type than the
 * graph's.
 */
at::Tensor make_first_value(const OpGraph& graph,
                            const Parameter& parameter,
                            const FirstValues& first,
                            at::Device device);
at::Tensor make_first_value(const OpGraph& graph,
                            const ModelBuffer& buffer,
                            const FirstValues& first,
                            at::Device device);

}  // namespace fusionllm
