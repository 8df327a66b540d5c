#include "token_stream.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/hash.hpp"
#include "fusionllm/util/random.hpp"

#include "token_sample.hpp"

namespace fusionllm::detail {
namespace {

constexpr std::size_t block_bytes = 65536;

template <class Unsigned>
Unsigned read_token(const std::byte* bytes) {
    Unsigned token;
    std::memcpy(&token, bytes, sizeof token);
    return token;
}

//! Calls with the tokens of the piece in order, some at a time, as i64.
template <class Use>
void for_each_block(const TokenPiece& piece, Use&& use) {
    std::vector<std::int64_t> block;
    const std::size_t end = piece.first_row + piece.num_rows;
    for (std::size_t row = piece.first_row; row < end; row += block.size()) {
        block.resize(std::min(end - row, block_bytes / sizeof block[0]));
        piece.rows->read(row, std::as_writable_bytes(std::span(block)));
        use(block);
    }
}

std::uint32_t to_token(std::int64_t number, const TokenPiece& piece) {
    FUSIONLLM_VALIDATE(
        std::in_range<std::uint32_t>(number),
        "{} has the number {}, which is no token; tokens are from 0 to 2^32-1",
        piece.rows->name,
        number);
    return static_cast<std::uint32_t>(number);
}

//! Calls with each token of the piece in order.
template <class Use>
void for_each_token(const TokenPiece& piece, Use&& use) {
    const std::byte* bytes = piece.bytes.data();
    const std::size_t size = piece.size();
    if (piece.rows) {
        for_each_block(piece, [&](std::span<const std::int64_t> block) {
            for (const std::int64_t number : block) {
                use(to_token(number, piece));
            }
        });
    } else if (piece.width == 1) {
        for (std::size_t i = 0; i < size; ++i) {
            use(std::to_integer<std::uint32_t>(bytes[i]));
        }
    } else if (piece.width == 2) {
        for (std::size_t i = 0; i < size; ++i) {
            use(std::uint32_t{read_token<std::uint16_t>(bytes + 2 * i)});
        }
    } else {
        for (std::size_t i = 0; i < size; ++i) {
            use(read_token<std::uint32_t>(bytes + 4 * i));
        }
    }
}

/*!
 * By the checksums of blocks: many times as fast as FNV over every byte. Blocks
 * do not end where pieces do, so that only the sequence counts.
 */
class BlockHash {
public:
    explicit BlockHash(std::uint64_t start) : hash_(start) {
        rest_.reserve(block_bytes);
    }

    void add(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const std::size_t wanted = block_bytes - rest_.size();
            const auto some = bytes.first(std::min(wanted, bytes.size()));
            if (some.size() == block_bytes) {
                add_block(some);
            } else {
                rest_.insert(rest_.end(), some.begin(), some.end());
                if (rest_.size() == block_bytes) {
                    flush();
                }
            }
            bytes = bytes.subspan(some.size());
        }
    }

    std::uint64_t finish() {
        if (!rest_.empty()) {
            flush();
        }
        return hash_;
    }

private:
    void add_block(std::span<const std::byte> block) {
        hash_ = derive_key(hash_, crc32c(block));
    }
    void flush() {
        add_block(rest_);
        rest_.clear();
    }

    std::uint64_t hash_;
    std::vector<std::byte> rest_;
};

//! Windows of context + 1 tokens that begin every `stride` ones; at least one.
class WindowDataset final : public Dataset {
public:
    WindowDataset(TokenStream tokens,
                  std::size_t context,
                  std::size_t stride,
                  std::uint64_t content_hash)
        : tokens_(std::move(tokens)),
          context_(context),
          stride_(stride),
          content_hash_(content_hash) {
        FUSIONLLM_EXPECTS(tokens_.size() > context);
    }

    std::size_t size() const override {
        return (tokens_.size() - context_ - 1) / stride_ + 1;
    }

    std::vector<HostTensor> get(std::size_t index) const override {
        FUSIONLLM_EXPECTS(index < size());
        std::vector<std::int64_t> window(context_ + 1);
        tokens_.copy(index * stride_, window);
        return make_token_sample(context_,
                                 [&](std::size_t i) { return window[i]; });
    }

    std::uint64_t content_hash() const override { return content_hash_; }

private:
    TokenStream tokens_;
    std::size_t context_;
    std::size_t stride_;
    std::uint64_t content_hash_;
};

void check_length(std::string_view which,
                  std::string_view what,
                  std::size_t num_tokens,
                  std::size_t context,
                  std::string_view advice) {
    FUSIONLLM_VALIDATE(num_tokens > context,
                       "the {} text has {} {}, but one window of {} tokens "
                       "and the label of its last token need {}; {}",
                       which,
                       num_tokens,
                       what,
                       context,
                       context + 1,
                       advice);
}

}  // namespace

TokenPiece TokenPiece::first(std::size_t num_tokens) const {
    TokenPiece piece = *this;
    if (rows) {
        piece.num_rows = num_tokens;
    } else {
        piece.bytes = bytes.first(num_tokens * width);
    }
    return piece;
}

TokenPiece TokenPiece::after(std::size_t num_tokens) const {
    TokenPiece piece = *this;
    if (rows) {
        piece.first_row += num_tokens;
        piece.num_rows -= num_tokens;
    } else {
        piece.bytes = bytes.subspan(num_tokens * width);
    }
    return piece;
}

void TokenStream::append(TokenPiece piece) {
    if (piece.size() > 0) {
        begins_.push_back(size_);
        size_ += piece.size();
        pieces_.push_back(std::move(piece));
    }
}

void TokenStream::copy(std::size_t begin, std::span<std::int64_t> into) const {
    FUSIONLLM_EXPECTS(begin + into.size() <= size_);
    const auto after = std::ranges::upper_bound(begins_, begin);
    auto i = static_cast<std::size_t>(after - begins_.begin()) - 1;
    begin -= begins_[i];
    for (; !into.empty(); ++i) {
        const TokenPiece rest = pieces_[i].after(begin);
        const TokenPiece some = rest.first(std::min(rest.size(), into.size()));
        auto place = into.begin();
        for_each_token(some, [&](std::uint32_t token) { *place++ = token; });
        into = into.subspan(some.size());
        begin = 0;
    }
}

std::uint32_t TokenStream::largest() const {
    std::uint32_t largest = 0;
    for (const TokenPiece& piece : pieces_) {
        for_each_token(piece, [&](std::uint32_t token) {
            largest = std::max(largest, token);
        });
    }
    return largest;
}

std::uint64_t TokenStream::hash(std::uint64_t start) const {
    std::size_t num_bytes = 0;
    for (const TokenPiece& piece : pieces_) {
        num_bytes += piece.rows ? piece.num_rows * sizeof(std::int64_t)
                                : piece.bytes.size();
    }
    BlockHash hash(derive_key(start, num_bytes));
    for (const TokenPiece& piece : pieces_) {
        if (!piece.rows) {
            hash.add(piece.bytes);
            continue;
        }
        for_each_block(piece, [&](std::span<const std::int64_t> block) {
            hash.add(std::as_bytes(block));
        });
    }
    return hash.finish();
}

void TokenStreams::append(const TokenPiece& file, double validation_fraction) {
    const auto held_out = static_cast<std::size_t>(
        std::floor(static_cast<double>(file.size()) * validation_fraction));
    const std::size_t kept = file.size() - held_out;
    train.append(file.first(kept));
    validation.append(file.after(kept));
}

DatasetSplit make_window_split(TokenStreams streams,
                               std::string_view what,
                               std::size_t context,
                               double validation_fraction) {
    const std::string_view unit = what == "text" ? "bytes" : "tokens";
    check_length("training",
                 unit,
                 streams.train.size(),
                 context,
                 "give more text or a shorter context");
    const std::uint64_t hash =
        streams.validation.hash(streams.train.hash(hash_text(what)));
    DatasetSplit split;
    split.train = std::make_shared<WindowDataset>(
        std::move(streams.train), context, 1, hash);
    if (validation_fraction > 0.0) {
        check_length("validation",
                     unit,
                     streams.validation.size(),
                     context,
                     "give more text, a shorter context, a larger validation "
                     "fraction, or the fraction 0 for no validation");
        split.validation =
            std::make_shared<WindowDataset>(std::move(streams.validation),
                                            context,
                                            context + 1,
                                            derive_key(hash, "validation"));
    }
    return split;
}

}  // namespace fusionllm::detail
