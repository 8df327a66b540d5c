#include "fusionllm/data/text.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fusionllm/util/buffer.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/hash.hpp"
#include "fusionllm/util/random.hpp"

#include "text_files.hpp"
#include "token_sample.hpp"

namespace fusionllm {
namespace {

/*!
 * Windows of context + 1 bytes that begin every `stride` bytes; at least one.
 */
class TextDataset final : public Dataset {
public:
    TextDataset(Buffer text,
                std::size_t context,
                std::size_t stride,
                std::uint64_t content_hash)
        : text_(std::move(text)),
          context_(context),
          stride_(stride),
          content_hash_(content_hash) {
        FUSIONLLM_EXPECTS(text_.size() > context);
    }

    std::size_t size() const override {
        return (text_.size() - context_ - 1) / stride_ + 1;
    }

    std::vector<HostTensor> get(std::size_t index) const override {
        FUSIONLLM_EXPECTS(index < size());
        const std::byte* window = text_.data() + index * stride_;
        return detail::make_token_sample(context_, [&](std::size_t i) {
            return std::to_integer<std::int64_t>(window[i]);
        });
    }

    std::uint64_t content_hash() const override { return content_hash_; }

private:
    Buffer text_;
    std::size_t context_;
    std::size_t stride_;
    std::uint64_t content_hash_;
};

struct Streams {
    Buffer train;
    Buffer validation;
};

std::size_t num_validation_bytes(const detail::TextFile& file,
                                 double fraction) {
    return static_cast<std::size_t>(
        std::floor(static_cast<double>(file.num_bytes) * fraction));
}

Streams read_streams(const std::vector<detail::TextFile>& files,
                     double fraction) {
    std::size_t num_train = 0;
    std::size_t num_validation = 0;
    for (const detail::TextFile& file : files) {
        const std::size_t held_out = num_validation_bytes(file, fraction);
        num_train += file.num_bytes - held_out;
        num_validation += held_out;
    }
    Streams streams{Buffer(num_train), Buffer(num_validation)};
    auto train = streams.train.span();
    auto validation = streams.validation.span();
    for (const detail::TextFile& file : files) {
        const std::size_t held_out = num_validation_bytes(file, fraction);
        const std::size_t kept = file.num_bytes - held_out;
        read_file_part(file.path, 0, train.first(kept));
        read_file_part(file.path, kept, validation.first(held_out));
        train = train.subspan(kept);
        validation = validation.subspan(held_out);
    }
    return streams;
}

//! By the checksums of blocks: many times as fast as FNV over every byte.
std::uint64_t hash_stream(std::uint64_t start,
                          std::span<const std::byte> bytes) {
    constexpr std::size_t block_bytes = 65536;
    std::uint64_t hash = derive_key(start, bytes.size());
    while (!bytes.empty()) {
        const auto block = bytes.first(std::min(block_bytes, bytes.size()));
        hash = derive_key(hash, crc32c(block));
        bytes = bytes.subspan(block.size());
    }
    return hash;
}

void check_length(std::string_view which,
                  std::size_t num_bytes,
                  std::size_t context,
                  std::string_view advice) {
    FUSIONLLM_VALIDATE(num_bytes > context,
                       "the {} text has {} bytes, but one window of {} tokens "
                       "and the label of its last token need {}; {}",
                       which,
                       num_bytes,
                       context,
                       context + 1,
                       advice);
}

}  // namespace

DatasetSplit make_text_dataset(const std::vector<std::filesystem::path>& paths,
                               std::size_t context,
                               double validation_fraction) {
    detail::check_split(context, validation_fraction);
    Streams streams =
        read_streams(detail::find_text_files(paths), validation_fraction);
    check_length("training",
                 streams.train.size(),
                 context,
                 "give more text or a shorter context");
    const std::uint64_t hash =
        hash_stream(hash_stream(hash_text("text"), streams.train.span()),
                    streams.validation.span());
    DatasetSplit split;
    split.train = std::make_shared<TextDataset>(
        std::move(streams.train), context, 1, hash);
    if (validation_fraction > 0.0) {
        check_length("validation",
                     streams.validation.size(),
                     context,
                     "give more text, a shorter context, a larger validation "
                     "fraction, or the fraction 0 for no validation");
        split.validation =
            std::make_shared<TextDataset>(std::move(streams.validation),
                                          context,
                                          context + 1,
                                          derive_key(hash, "validation"));
    }
    return split;
}

}  // namespace fusionllm
