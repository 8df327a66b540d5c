#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace fusionllm::detail {

static_assert(std::endian::native == std::endian::little,
              "token files are read as they are");

//! That of llm.c's token files: magic, version, number of tokens, zeros.
using TokenHeader = std::array<std::int32_t, 256>;

inline constexpr std::int32_t magic_of_16_bits = 20240520;
inline constexpr std::int32_t magic_of_32_bits = 20240801;
inline constexpr std::uint64_t most_tokens_of_file =
    std::numeric_limits<std::int32_t>::max();

//! For tokens of 2 or 4 bytes.
inline TokenHeader make_token_header(std::size_t width,
                                     std::uint64_t num_tokens) {
    TokenHeader header{};
    header[0] = width == 2 ? magic_of_16_bits : magic_of_32_bits;
    header[1] = width == 2 ? 1 : 7;
    header[2] = static_cast<std::int32_t>(num_tokens);
    return header;
}

}  // namespace fusionllm::detail
