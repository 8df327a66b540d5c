#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace fusionllm::detail {

//! The `size` bytes that zip's "deflate" made so short; none if it did not.
std::optional<std::string> inflate(std::string_view packed, std::size_t size);

}  // namespace fusionllm::detail
