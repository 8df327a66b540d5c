#include "fusionllm/data/token_files.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "fusionllm/util/error.hpp"

#include "file_bytes.hpp"
#include "token_header.hpp"
#include "token_sample.hpp"
#include "token_stream.hpp"

namespace fusionllm {
namespace {

namespace fs = std::filesystem;
using detail::FileBytes;
using detail::TokenHeader;
using detail::TokenPiece;

std::optional<TokenHeader> find_header(std::span<const std::byte> bytes) {
    TokenHeader header;
    if (bytes.size() < sizeof header) {
        return std::nullopt;
    }
    std::memcpy(header.data(), bytes.data(), sizeof header);
    return header[0] == detail::magic_of_16_bits ||
                   header[0] == detail::magic_of_32_bits
               ? std::optional(header)
               : std::nullopt;
}

TokenPiece read_with_header(const TokenHeader& header,
                            std::shared_ptr<const FileBytes> file,
                            const fs::path& path) {
    const auto tokens = file->bytes().subspan(sizeof header);
    const std::size_t width = header[0] == detail::magic_of_16_bits ? 2 : 4;
    FUSIONLLM_VALIDATE(
        header[2] >= 0 &&
            tokens.size() == static_cast<std::size_t>(header[2]) * width,
        "the header of '{}' says that it has {} tokens of {} bytes, but {} "
        "bytes follow; it was cut off or damaged: make it again",
        path.string(),
        header[2],
        width,
        tokens.size());
    return {tokens, width, std::move(file)};
}

TokenPiece read_token_file(const fs::path& path) {
    auto file = std::make_shared<const FileBytes>(path);
    if (const auto header = find_header(file->bytes())) {
        return read_with_header(*header, std::move(file), path);
    }
    const auto tokens = file->bytes();
    FUSIONLLM_VALIDATE(tokens.size() % 2 == 0,
                       "'{}' has {} bytes, so it is no file of 16-bit tokens, "
                       "and no header says what else; make one by fusionllm "
                       "tokenize",
                       path.string(),
                       tokens.size());
    return {tokens, 2, std::move(file)};
}

TokenPiece use_rows(const StoredRows& rows) {
    FUSIONLLM_VALIDATE(rows.type.sizes.size() == 1,
                       "{} is {}, but tokens have one axis; flatten them, or "
                       "train on samples by kind = \"hdf5\" in [data]",
                       rows.name,
                       to_text(rows.type));
    FUSIONLLM_EXPECTS(rows.type.dtype == DType::i64);
    return {
        {}, 1, {}, std::make_shared<const StoredRows>(rows), 0, rows.size()};
}

struct NamedPiece {
    TokenPiece tokens;
    std::string name;  // for messages
};

NamedPiece open_source(const TokenSource& source) {
    const auto* path = std::get_if<fs::path>(&source);
    if (path != nullptr) {
        return {read_token_file(*path), "'" + path->string() + "'"};
    }
    const auto& rows = std::get<StoredRows>(source);
    return {use_rows(rows), rows.name};
}

void check_tokens(const NamedPiece& piece, std::size_t vocabulary) {
    detail::TokenStream tokens;
    tokens.append(piece.tokens);
    const std::size_t largest = tokens.largest();
    FUSIONLLM_VALIDATE(largest < vocabulary,
                       "{} has the token {}, but the model's vocabulary is "
                       "{}; set vocabulary in [model] to that of the tokens, "
                       "{} or more",
                       piece.name,
                       largest,
                       vocabulary,
                       largest + 1);
}

}  // namespace

DatasetSplit make_tokens_dataset(const std::vector<TokenSource>& sources,
                                 std::size_t context,
                                 std::size_t vocabulary,
                                 double validation_fraction) {
    detail::check_split(context, validation_fraction);
    FUSIONLLM_VALIDATE(!sources.empty(),
                       "no file of tokens is given; name at least one");
    detail::TokenStreams streams;
    for (const TokenSource& source : sources) {
        const NamedPiece piece = open_source(source);
        check_tokens(piece, vocabulary);
        streams.append(piece.tokens, validation_fraction);
    }
    return detail::make_window_split(
        std::move(streams), "tokens", context, validation_fraction);
}

}  // namespace fusionllm
