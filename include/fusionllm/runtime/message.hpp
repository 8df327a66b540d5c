#pragma once

#include <ATen/core/Tensor.h>

#include "fusionllm/util/buffer.hpp"
#include "fusionllm/wire/message_header.hpp"

namespace fusionllm {

/*!
 * A message with the tensor's elements as they lie in memory; one copy.
 *
 * An undefined tensor makes a message that says that there is none. `header`
 * gives kind, step, micro-batch and value; the rest is filled in.
 */
Buffer encode_message(MessageHeader header, const at::Tensor& tensor);

//! Throws `Error` unless kind, step, micro-batch, value and type agree.
void check_expected(const MessageHeader& found, const MessageHeader& expected);

//! Which numbers are not welcome.
enum class Unwanted { nan, non_finite };

//! Whether a dense f32 message holds such a number; false for other types.
bool has_unwanted(const Buffer& message, Unwanted unwanted);
//! The same of a tensor, wherever it is.
bool has_unwanted(const at::Tensor& tensor, Unwanted unwanted);

/*!
 * The tensor of a message, over the buffer itself when the device is the host.
 *
 * Throws `Error` unless the message is the expected one: kind, step,
 * micro-batch, value and type.
 */
at::Tensor decode_message(Buffer message,
                          const MessageHeader& expected,
                          at::Device device);

}  // namespace fusionllm
