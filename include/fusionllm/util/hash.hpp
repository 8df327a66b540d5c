#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace fusionllm {

//! FNV-1a, 64 bit: to see that two sides hold the same; no security.
std::uint64_t hash_bytes(std::span<const std::byte> bytes,
                         std::uint64_t start = 0xcbf29ce484222325ull);
std::uint64_t hash_text(std::string_view text);

//! CRC-32C (Castagnoli), as in message headers; `crc32c("123456789")` is
//! 0xE3069283.
std::uint32_t crc32c(std::span<const std::byte> bytes);

namespace detail {

//! The same for processors without the SSE 4.2 instruction.
std::uint32_t crc32c_by_table(std::span<const std::byte> bytes);

}  // namespace detail

}  // namespace fusionllm
