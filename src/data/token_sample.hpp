#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "fusionllm/data/text.hpp"
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

//! Made-up text is so many samples, of which the last are for validation.
inline constexpr std::size_t num_made_up_samples = std::size_t{1} << 20;

//! \param make the dataset of the samples from a first one on: (first, count)
template <class Make>
DatasetSplit split_made_up_samples(double validation_fraction, Make&& make) {
    const auto held_out = static_cast<std::size_t>(std::floor(
        static_cast<double>(num_made_up_samples) * validation_fraction));
    const std::size_t kept = num_made_up_samples - held_out;
    DatasetSplit split;
    split.train = make(std::size_t{0}, kept);
    if (held_out > 0) {
        split.validation = make(kept, held_out);
    }
    return split;
}

//! Throw `InputError` for a context or a fraction that makes no sense.
void check_fraction(double validation_fraction);
void check_split(std::size_t context, double validation_fraction);

}  // namespace fusionllm::detail
