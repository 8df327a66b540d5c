#include "fusionllm/data/token_files.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
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

void check_tokens(const TokenPiece& piece,
                  std::size_t vocabulary,
                  const fs::path& path) {
    detail::TokenStream tokens;
    tokens.append(piece);
    const std::size_t largest = tokens.largest();
    FUSIONLLM_VALIDATE(largest < vocabulary,
                       "'{}' has the token {}, but the model's vocabulary is "
                       "{}; set vocabulary in [model] to that of the tokens, "
                       "{} or more",
                       path.string(),
                       largest,
                       vocabulary,
                       largest + 1);
}

}  // namespace

DatasetSplit make_tokens_dataset(const std::vector<fs::path>& paths,
                                 std::size_t context,
                                 std::size_t vocabulary,
                                 double validation_fraction) {
    detail::check_split(context, validation_fraction);
    FUSIONLLM_VALIDATE(!paths.empty(),
                       "no file of tokens is given; name at least one");
    detail::TokenStreams streams;
    for (const fs::path& path : paths) {
        const TokenPiece piece = read_token_file(path);
        check_tokens(piece, vocabulary, path);
        streams.append(piece, validation_fraction);
    }
    return detail::make_window_split(
        std::move(streams), "tokens", context, validation_fraction);
}

}  // namespace fusionllm
