#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fusionllm/util/buffer.hpp"
#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm {

at::ScalarType to_scalar_type(DType dtype);
//! Throws `Error` for element types that have no `DType` (quantised, ...).
DType to_dtype(at::ScalarType type);
TensorType type_of(const at::Tensor& tensor);

//! "cpu" or "cuda" (this host's device by local number) as an `at::Device`.
at::Device parse_device(const std::string& text, int local_rank);

/*!
 * Dims from outermost to innermost as they lie in memory.
 *
 * Ties (dims of size 1, expanded dims) keep the order of the dims, so that the
 * order is a function of what matters.
 */
std::vector<std::uint8_t> stride_order(const at::Tensor& tensor);

//! Strides of a dense tensor whose dims lie in the given order.
std::vector<std::int64_t> dense_strides(const std::vector<std::int64_t>& sizes,
                                        const std::vector<std::uint8_t>& order);

/*!
 * The tensor with dense memory and the canonical strides of its stride order.
 *
 * Every value passes through here after it was computed (and its gradient gets
 * its strides), on one rank and on many. So a value that was sent (its message
 * carries the stride order) and one that was not have equal strides, and
 * reductions and matrix products over them equal bits. Differentiable; copies
 * only what is not dense (parts of a split, expanded gradients) or is marked as
 * conjugate or negative.
 */
at::Tensor normalise(const at::Tensor& tensor);

//! Row-major copy in host memory.
HostTensor to_host(const at::Tensor& tensor);
at::Tensor from_host(const HostTensor& tensor, at::Device device);

//! Copy the elements, in the order they lie in memory, to host bytes.
void copy_to_bytes(const at::Tensor& normalised, std::byte* destination);

/*!
 * A tensor over the buffer's bytes from `offset` on, kept alive by it; moved
 * to the device if that is not the host.
 */
at::Tensor view_of_buffer(Buffer buffer,
                          std::size_t offset,
                          const TensorType& type,
                          const std::vector<std::uint8_t>& order,
                          at::Device device);

}  // namespace fusionllm
