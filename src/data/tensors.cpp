#include "fusionllm/data/tensors.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/hash.hpp"
#include "fusionllm/util/random.hpp"

#include "token_sample.hpp"

namespace fusionllm {
namespace {

// Samples: as many as these bytes are, but not few, and not without end.
constexpr std::size_t hashed_bytes = std::size_t{64} << 20;
constexpr std::size_t least_hashed = 64;
constexpr std::size_t most_hashed = 4096;

using Tensors = std::shared_ptr<const std::vector<StoredRows>>;

std::vector<HostTensor> read_sample(const std::vector<StoredRows>& tensors,
                                    std::size_t row) {
    std::vector<HostTensor> sample;
    for (const StoredRows& tensor : tensors) {
        HostTensor read{tensor.row_type(), {}};
        read.bytes.resize(num_bytes(read.type));
        tensor.read(row, read.bytes);
        sample.push_back(std::move(read));
    }
    return sample;
}

class TensorDataset final : public Dataset {
public:
    TensorDataset(Tensors tensors,
                  std::size_t begin,
                  std::size_t size,
                  std::uint64_t content_hash)
        : tensors_(std::move(tensors)),
          begin_(begin),
          size_(size),
          content_hash_(content_hash) {}

    std::size_t size() const override { return size_; }
    std::vector<HostTensor> get(std::size_t index) const override {
        FUSIONLLM_EXPECTS(index < size_);
        return read_sample(*tensors_, begin_ + index);
    }
    std::uint64_t content_hash() const override { return content_hash_; }

private:
    Tensors tensors_;
    std::size_t begin_;
    std::size_t size_;
    std::uint64_t content_hash_;
};

std::uint64_t hash_samples(const std::vector<StoredRows>& tensors) {
    std::uint64_t hash = hash_text("tensors");
    for (const StoredRows& tensor : tensors) {
        hash = derive_key(hash, to_text(tensor.type));
    }
    const std::size_t size = tensors.front().size();
    std::size_t sample_bytes = 1;
    for (const StoredRows& tensor : tensors) {
        sample_bytes += num_bytes(tensor.row_type());
    }
    const std::size_t taken = std::min(
        size,
        std::clamp(hashed_bytes / sample_bytes, least_hashed, most_hashed));
    for (std::size_t i = 0; i < taken; ++i) {
        // The first and the last one, and some between.
        const std::size_t row = taken == 1 ? 0 : i * (size - 1) / (taken - 1);
        for (const HostTensor& tensor : read_sample(tensors, row)) {
            hash = derive_key(hash, crc32c(tensor.bytes));
        }
    }
    return hash;
}

void check_tensors(const std::vector<StoredRows>& tensors) {
    FUSIONLLM_VALIDATE(!tensors.empty(),
                       "no tensor to train on is named; name one for each "
                       "input of the model");
    for (const StoredRows& tensor : tensors) {
        FUSIONLLM_VALIDATE(tensor.size() == tensors.front().size(),
                           "{} has {} samples, but {} has {}; their first "
                           "axes must be equal",
                           tensors.front().name,
                           tensors.front().size(),
                           tensor.name,
                           tensor.size());
    }
}

}  // namespace

DatasetSplit make_tensor_dataset(std::vector<StoredRows> tensors,
                                 double validation_fraction) {
    detail::check_fraction(validation_fraction);
    check_tensors(tensors);
    const std::size_t size = tensors.front().size();
    const auto held_out = static_cast<std::size_t>(
        std::floor(static_cast<double>(size) * validation_fraction));
    const std::size_t kept = size - held_out;
    FUSIONLLM_VALIDATE(kept > 0,
                       "{} has no samples to train on; give some",
                       tensors.front().name);
    const std::uint64_t hash =
        derive_key(hash_samples(tensors), std::uint64_t{held_out});
    const auto shared =
        std::make_shared<const std::vector<StoredRows>>(std::move(tensors));
    DatasetSplit split;
    split.train = std::make_shared<TensorDataset>(shared, 0, kept, hash);
    if (held_out > 0) {
        split.validation = std::make_shared<TensorDataset>(
            shared, kept, held_out, derive_key(hash, "validation"));
    }
    return split;
}

}  // namespace fusionllm
