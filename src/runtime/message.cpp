#include "fusionllm/runtime/message.hpp"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {

Buffer encode_message(MessageHeader header, const at::Tensor& tensor) {
    header.has_tensor = tensor.defined();
    header.payload_bytes = 0;
    if (tensor.defined()) {
        header.type = type_of(tensor);
        header.stride_order = stride_order(tensor);
        header.payload_bytes = num_bytes(header.type);
    } else {
        header.type.sizes.clear();
        header.stride_order.clear();
    }
    Buffer message(header_bytes + header.payload_bytes);
    std::ranges::copy(encode_header(header), message.data());
    if (tensor.defined()) {
        copy_to_bytes(tensor, message.data() + header_bytes);
    }
    return message;
}

void check_expected(const MessageHeader& found, const MessageHeader& expected) {
    const bool is_expected = found.kind == expected.kind &&
                             found.step == expected.step &&
                             found.micro_batch == expected.micro_batch &&
                             found.value == expected.value &&
                             (!found.has_tensor || found.type == expected.type);
    if (!is_expected) {
        throw Error(fmt::format(
            "a message is not the one that is due: came {}; due {} (do all "
            "ranks run the same program and plan?)",
            to_text(found),
            to_text(expected)));
    }
}

bool has_unwanted(const at::Tensor& tensor, Unwanted unwanted) {
    if (!tensor.defined() || tensor.scalar_type() != at::kFloat) {
        return false;
    }
    const at::NoGradGuard no_grad;
    // A sum is not finite if one of its terms is not, and cheaper than a mask;
    // only then is it looked at closely.
    const at::Tensor sum = tensor.detach().abs().sum(at::kDouble);
    if (std::isfinite(sum.item<double>())) {
        return false;
    }
    return unwanted == Unwanted::nan ? std::isnan(sum.item<double>()) : true;
}

bool has_unwanted(const Buffer& message, Unwanted unwanted) {
    const MessageHeader header = decode_header(message.span());
    if (!header.has_tensor || header.type.dtype != DType::f32) {
        return false;
    }
    // An exponent of ones: NaN with a mantissa, infinity without.
    const auto* words =
        reinterpret_cast<const std::uint32_t*>(message.data() + header_bytes);
    const std::size_t count = header.payload_bytes / 4;
    const std::uint32_t limit =
        unwanted == Unwanted::nan ? 0x7f800001u : 0x7f800000u;
    std::uint32_t num_found = 0;
    for (std::size_t i = 0; i < count; ++i) {
        num_found += (words[i] & 0x7fffffffu) >= limit ? 1u : 0u;
    }
    return num_found != 0;
}

at::Tensor decode_message(Buffer message,
                          const MessageHeader& expected,
                          at::Device device) {
    const MessageHeader header = decode_header(message.span());
    check_expected(header, expected);
    if (!header.has_tensor) {
        return {};
    }
    if (!(header.codec == CodecSpec{})) {
        throw Error(fmt::format(
            "a message is {}, but this rank has no fence there; do all ranks "
            "have the same plan? ({})",
            to_text(header.codec),
            to_text(header)));
    }
    return view_of_buffer(std::move(message),
                          header_bytes,
                          header.type,
                          header.stride_order,
                          device);
}

}  // namespace fusionllm
