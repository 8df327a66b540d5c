#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "fusionllm/data/text.hpp"
#include "fusionllm/util/stored_rows.hpp"

namespace fusionllm::detail {

//! Little-endian unsigned integers, in memory or a mapped file; or rows of
//! another file, i64 without further axes, which are read when wanted.
struct TokenPiece {
    std::span<const std::byte> bytes;
    std::size_t width = 1;              //!< bytes a token: 1, 2 or 4
    std::shared_ptr<const void> owner;  //!< of the bytes
    std::shared_ptr<const StoredRows> rows = nullptr;  //!< null: bytes
    std::size_t first_row = 0;
    std::size_t num_rows = 0;

    std::size_t size() const { return rows ? num_rows : bytes.size() / width; }
    TokenPiece first(std::size_t num_tokens) const;
    TokenPiece after(std::size_t num_tokens) const;
};

//! Tokens of several pieces, one after another.
class TokenStream {
public:
    void append(TokenPiece piece);
    std::size_t size() const { return size_; }
    //! Tokens `begin` to `begin + into.size() - 1`.
    void copy(std::size_t begin, std::span<std::int64_t> into) const;
    //! The largest token; reads all of them. 0 if there are none.
    std::uint32_t largest() const;
    //! Of all bytes, as one sequence, wherever pieces begin; mixed into
    //! `start`.
    std::uint64_t hash(std::uint64_t start) const;

private:
    std::vector<TokenPiece> pieces_;
    std::vector<std::size_t> begins_;  // of each piece, in tokens
    std::size_t size_ = 0;
};

//! What a source holds; the last part of every file is validation.
struct TokenStreams {
    TokenStream train;
    TokenStream validation;
    //! Adds the tokens of one file.
    void append(const TokenPiece& file, double validation_fraction);
};

/*!
 * Training samples are all windows of context + 1 tokens, validation samples
 * those that do not overlap. `what` is the source in messages: "text".
 */
DatasetSplit make_window_split(TokenStreams streams,
                               std::string_view what,
                               std::size_t context,
                               double validation_fraction);

}  // namespace fusionllm::detail
