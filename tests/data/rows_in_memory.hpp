#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "fusionllm/util/stored_rows.hpp"

namespace fusionllm::test {

//! Counts the bytes that are read.
template <class Number>
StoredRows rows_in_memory(
    const std::string& name,
    DType dtype,
    std::vector<std::int64_t> sizes,
    std::vector<Number> numbers,
    std::shared_ptr<std::size_t> bytes_read = std::make_shared<std::size_t>()) {
    StoredRows rows{{dtype, std::move(sizes)}, name, {}};
    rows.read = [numbers = std::move(numbers),
                 row_bytes = num_bytes(rows.row_type()),
                 bytes_read](std::size_t first, std::span<std::byte> into) {
        const auto bytes = std::as_bytes(std::span(numbers));
        const auto some = bytes.subspan(first * row_bytes, into.size());
        std::memcpy(into.data(), some.data(), some.size());
        *bytes_read += into.size();
    };
    return rows;
}

}  // namespace fusionllm::test
