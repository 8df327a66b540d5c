#pragma once

#include <bit>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "fusionllm/util/error.hpp"

namespace fusionllm::detail {

static_assert(std::endian::native == std::endian::little,
              "archives and this machine must agree on the order of bytes");

//! A number at a place of a text that is long enough.
template <class Number>
Number little_endian(std::string_view bytes, std::size_t offset) {
    FUSIONLLM_VALIDATE(
        offset <= bytes.size() && sizeof(Number) <= bytes.size() - offset,
        "the archive is cut short");
    Number number;
    std::memcpy(&number, bytes.data() + offset, sizeof number);
    return number;
}

}  // namespace fusionllm::detail
