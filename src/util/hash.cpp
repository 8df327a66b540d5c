#include "fusionllm/util/hash.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__CUDACC__)
#define FUSIONLLM_CRC_SSE42
#include <nmmintrin.h>
#endif

namespace fusionllm {
namespace {

using Table = std::array<std::array<std::uint32_t, 256>, 8>;

//! table[k][b]: the checksum of byte b followed by k zero bytes.
constexpr Table make_table() {
    constexpr std::uint32_t reversed_polynomial = 0x82F63B78u;
    Table table{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t crc = byte;
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc >> 1) ^ ((crc & 1u) != 0 ? reversed_polynomial : 0u);
        }
        table[0][byte] = crc;
    }
    for (std::size_t k = 1; k < table.size(); ++k) {
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const std::uint32_t crc = table[k - 1][byte];
            table[k][byte] = (crc >> 8) ^ table[0][crc & 0xFFu];
        }
    }
    return table;
}

constexpr Table table = make_table();

std::uint32_t byte_at(const std::byte* bytes, std::size_t index) {
    return static_cast<std::uint32_t>(bytes[index]);
}

#ifdef FUSIONLLM_CRC_SSE42
__attribute__((target("sse4.2"))) std::uint32_t crc32c_by_instruction(
    std::span<const std::byte> bytes) {
    std::uint64_t crc = 0xFFFFFFFFu;
    const std::byte* at = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= 8; left -= 8, at += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, at, 8);
        crc = _mm_crc32_u64(crc, word);
    }
    auto last = static_cast<std::uint32_t>(crc);
    for (; left > 0; --left, ++at) {
        last = _mm_crc32_u8(last, static_cast<unsigned char>(*at));
    }
    return ~last;
}
#endif

}  // namespace

std::uint64_t hash_bytes(std::span<const std::byte> bytes,
                         std::uint64_t start) {
    std::uint64_t hash = start;
    for (const std::byte byte : bytes) {
        hash ^= static_cast<std::uint64_t>(byte);
        hash *= 0x100000001B3ull;
    }
    return hash;
}

std::uint64_t hash_text(std::string_view text) {
    return hash_bytes(std::as_bytes(std::span(text.data(), text.size())));
}

std::uint32_t detail::crc32c_by_table(std::span<const std::byte> bytes) {
    std::uint32_t crc = 0xFFFFFFFFu;
    const std::byte* at = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= 8; left -= 8, at += 8) {
        crc ^= byte_at(at, 0) | byte_at(at, 1) << 8 | byte_at(at, 2) << 16 |
               byte_at(at, 3) << 24;
        crc = table[7][crc & 0xFFu] ^ table[6][(crc >> 8) & 0xFFu] ^
              table[5][(crc >> 16) & 0xFFu] ^ table[4][crc >> 24] ^
              table[3][byte_at(at, 4)] ^ table[2][byte_at(at, 5)] ^
              table[1][byte_at(at, 6)] ^ table[0][byte_at(at, 7)];
    }
    for (; left > 0; --left, ++at) {
        crc = (crc >> 8) ^ table[0][(crc ^ byte_at(at, 0)) & 0xFFu];
    }
    return ~crc;
}

std::uint32_t crc32c(std::span<const std::byte> bytes) {
#ifdef FUSIONLLM_CRC_SSE42
    if (__builtin_cpu_supports("sse4.2")) {
        return crc32c_by_instruction(bytes);
    }
#endif
    return detail::crc32c_by_table(bytes);
}

}  // namespace fusionllm
