#include "fusionllm/runtime/message.hpp"

#include <algorithm>

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
    const bool is_expected =
        header.kind == expected.kind && header.step == expected.step &&
        header.micro_batch == expected.micro_batch &&
        header.value == expected.value &&
        (!header.has_tensor || header.type == expected.type);
    if (!is_expected) {
        throw Error(fmt::format(
            "a message is not the one that is due: came {}; due {} (do all "
            "ranks run the same program and plan?)",
            to_text(header),
            to_text(expected)));
    }
    if (!header.has_tensor) {
        return {};
    }
    return view_of_buffer(std::move(message),
                          header_bytes,
                          header.type,
                          header.stride_order,
                          device);
}

}  // namespace fusionllm
