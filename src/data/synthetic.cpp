#include <limits>

#include "fusionllm/data/text.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

#include "token_sample.hpp"

namespace fusionllm {
namespace {

constexpr std::uint32_t noise_below = std::uint32_t{1} << 29;  // 1 in 8

//! Numbers `begin` to `begin + size - 1` of the samples of a seed.
class SyntheticDataset final : public Dataset {
public:
    SyntheticDataset(std::uint64_t seed,
                     std::size_t context,
                     std::size_t vocabulary,
                     std::size_t begin,
                     std::size_t size)
        : key_(derive_key(seed, "synthetic text")),
          context_(context),
          vocabulary_(vocabulary),
          begin_(begin),
          size_(size) {
        // A permutation: all tokens stay equally frequent, so that only the
        // token before tells anything about the next one.
        const SampleOrder order(key_, vocabulary, SampleOrder::Kind::shuffled);
        for (std::size_t token = 0; token < vocabulary; ++token) {
            successors_.push_back(static_cast<std::uint32_t>(order(token)));
        }
    }

    std::size_t size() const override { return size_; }

    std::vector<HostTensor> get(std::size_t index) const override {
        FUSIONLLM_EXPECTS(index < size_);
        const auto number = static_cast<std::uint32_t>(begin_ + index);
        std::uint32_t token = 0;
        return detail::make_token_sample(context_, [&](std::size_t i) {
            token = next(token, number, i);
            return std::int64_t{token};
        });
    }

    std::uint64_t content_hash() const override {
        return derive_key(derive_key(derive_key(key_, vocabulary_), begin_),
                          size_);
    }

private:
    std::uint32_t next(std::uint32_t token,
                       std::uint32_t number,
                       std::size_t position) const {
        const PhiloxBlock random =
            philox({{static_cast<std::uint32_t>(position), number, 0, 0}},
                   make_philox_key(key_));
        if (position > 0 && random.words[0] >= noise_below) {
            return successors_[token];
        }
        return static_cast<std::uint32_t>(
            (std::uint64_t{random.words[1]} * vocabulary_) >> 32);
    }

    std::uint64_t key_;
    std::size_t context_;
    std::size_t vocabulary_;
    std::size_t begin_;
    std::size_t size_;
    std::vector<std::uint32_t> successors_;
};

}  // namespace

DatasetSplit make_synthetic_dataset(std::uint64_t seed,
                                    std::size_t context,
                                    std::size_t vocabulary,
                                    double validation_fraction) {
    detail::check_split(context, validation_fraction);
    FUSIONLLM_VALIDATE(
        vocabulary >= 2 &&
            vocabulary <= std::numeric_limits<std::int32_t>::max(),
        "the vocabulary has {} tokens; synthetic text needs at least 2 and "
        "fewer than 2^31",
        vocabulary);
    return detail::split_made_up_samples(
        validation_fraction, [&](std::size_t first, std::size_t count) {
            return std::make_shared<SyntheticDataset>(
                seed, context, vocabulary, first, count);
        });
}

}  // namespace fusionllm
