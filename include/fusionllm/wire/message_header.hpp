#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fusionllm/util/tensor_type.hpp"
#include "fusionllm/wire/codec_spec.hpp"
#include "fusionllm/wire/message_kind.hpp"

namespace fusionllm {

//! Of headers and payloads; programs of different versions cannot talk.
inline constexpr std::uint16_t wire_version = 4;
//! Bytes of every encoded header; a payload starts behind them.
inline constexpr std::size_t header_bytes = 128;
//! Dimensions that a header has room for.
inline constexpr std::size_t max_message_dims = 8;

/*!
 * What a message carries: enough to rebuild the tensor without knowing the
 * graph or the framework of the sender.
 *
 * `stride_order` lists the dimensions from the outermost to the innermost as
 * they lie in memory, e.g. {0, 2, 3, 1} for channels-last images; it is a
 * permutation with one entry per dimension. A message without a tensor
 * (`has_tensor` false: "this gradient is absent") has no sizes and no payload.
 */
struct MessageHeader {
    MessageKind kind = MessageKind::activation;
    CodecSpec codec{};  //!< native: the elements as they lie in memory
    bool has_tensor = true;
    std::uint64_t step = 0;
    std::uint32_t micro_batch = 0;
    std::uint32_t value = 0;  //!< index of the value in its graph
    TensorType type{};
    std::vector<std::uint8_t> stride_order{};
    std::uint64_t payload_bytes = 0;

    friend bool operator==(const MessageHeader&,
                           const MessageHeader&) = default;
};

/*!
 * Little-endian bytes, by offset:
 *
 *     0 magic "FLLM"      4 version u16       6 kind u8     7 codec u8
 *     8 dtype u8          9 num dims u8      10 flags u16 (bit 0: no tensor,
 *                                                bit 1: carries a basis, bit
 *                                                2: rows of a subspace differ)
 *    12 micro-batch u32  16 step u64         24 value u32
 *    28 value format u8  29 rounding u8      30 selection u8   31 zero
 *    32 sizes i64[8]     96 stride order u8[8]
 *   104 payload bytes u64                   112 kept u64
 *   120 zeros           124 CRC-32C of 0..123
 *
 * Entries of dimensions that the tensor lacks are zeros. Throws `Error` for a
 * tensor of more than 8 dimensions; any other header that `decode_header`
 * would refuse is a bug of the caller.
 */
std::array<std::byte, header_bytes> encode_header(const MessageHeader& header);

/*!
 * Read the header of a whole message (header and payload).
 *
 * Trusts nothing: throws `Error` with a sentence unless magic, version and CRC
 * are right, every field has a meaning, and the payload is exactly the rest of
 * the message and exactly what the codec makes of such a tensor. All codecs but
 * the native one are for f32.
 */
MessageHeader decode_header(std::span<const std::byte> message);

//! Bytes of a dense message: header and payload. Throws `Error` if the tensor
//! has more bytes than can be counted.
std::size_t dense_message_bytes(const TensorType& type);

//! Bytes of a message of an f32 tensor of this shape: header and payload.
std::size_t encoded_message_bytes(const CodecSpec& spec,
                                  const MatrixShape& shape);

//! "activation"
std::string to_text(MessageKind kind);
//! "gradient of value 7, micro-batch 2, step 12: f32[8,64], 2048 bytes"
std::string to_text(const MessageHeader& header);

}  // namespace fusionllm
