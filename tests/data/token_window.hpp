#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm::test {

inline std::vector<std::int64_t> tokens_of(const HostTensor& tensor) {
    if (tensor.type.dtype != DType::i64 || tensor.type.sizes.size() != 1 ||
        tensor.bytes.size() != num_bytes(tensor.type)) {
        throw std::logic_error("not i64 (T)");
    }
    std::vector<std::int64_t> tokens(tensor.bytes.size() / 8);
    std::memcpy(tokens.data(), tensor.bytes.data(), tensor.bytes.size());
    return tokens;
}

}  // namespace fusionllm::test
