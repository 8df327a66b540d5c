#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm::detail {

/*!
 * The sample of a window of T + 1 tokens, `token_at(0)` to `token_at(T)`:
 * "tokens" i64 (T) and "labels" i64 (T), label i being token i + 1.
 */
template <class TokenAt>
std::vector<HostTensor> make_token_sample(std::size_t context,
                                          TokenAt&& token_at) {
    constexpr std::size_t width = sizeof(std::int64_t);
    const TensorType type{DType::i64, {static_cast<std::int64_t>(context)}};
    HostTensor tokens{type, std::vector<std::byte>(context * width)};
    HostTensor labels = tokens;
    for (std::size_t i = 0; i <= context; ++i) {
        const std::int64_t token = token_at(i);
        if (i < context) {
            std::memcpy(tokens.bytes.data() + i * width, &token, width);
        }
        if (i > 0) {
            std::memcpy(labels.bytes.data() + (i - 1) * width, &token, width);
        }
    }
    std::vector<HostTensor> sample;
    sample.push_back(std::move(tokens));
    sample.push_back(std::move(labels));
    return sample;
}

//! Throw `InputError` for a context or a fraction that makes no sense.
void check_fraction(double validation_fraction);
void check_split(std::size_t context, double validation_fraction);

}  // namespace fusionllm::detail
