#include "fusionllm/data/text.hpp"

#include <cstring>
#include <limits>
#include <utility>

#include "file_bytes.hpp"
#include "text_files.hpp"
#include "token_sample.hpp"
#include "token_stream.hpp"

namespace fusionllm {
namespace {

template <class Unsigned>
detail::TokenPiece tokenize_as(const Tokenizer& tokenizer,
                               std::string_view text) {
    const auto tokens = std::make_shared<std::vector<Unsigned>>();
    tokenizer.encode(text, [&](std::span<const Token> some) {
        for (const Token token : some) {
            tokens->push_back(static_cast<Unsigned>(token));
        }
    });
    tokens->shrink_to_fit();
    return {std::as_bytes(std::span(*tokens)), sizeof(Unsigned), tokens};
}

detail::TokenPiece tokenize(const Tokenizer& tokenizer, std::string_view text) {
    const bool is_small =
        tokenizer.vocabulary() - 1 <= std::numeric_limits<std::uint16_t>::max();
    return is_small ? tokenize_as<std::uint16_t>(tokenizer, text)
                    : tokenize_as<std::uint32_t>(tokenizer, text);
}

}  // namespace

DatasetSplit make_text_dataset(const std::vector<std::filesystem::path>& paths,
                               std::size_t context,
                               double validation_fraction) {
    detail::check_split(context, validation_fraction);
    detail::TokenStreams streams;
    for (const detail::TextFile& file : detail::find_text_files(paths)) {
        const auto mapped =
            std::make_shared<const detail::FileBytes>(file.path);
        streams.append({mapped->bytes(), 1, mapped}, validation_fraction);
    }
    return detail::make_window_split(
        std::move(streams), "text", context, validation_fraction);
}

DatasetSplit make_text_dataset(const std::vector<std::filesystem::path>& paths,
                               const Tokenizer& tokenizer,
                               std::size_t context,
                               double validation_fraction) {
    detail::check_split(context, validation_fraction);
    detail::TokenStreams streams;
    for (const detail::TextFile& file : detail::find_text_files(paths)) {
        streams.append(tokenize(tokenizer, detail::FileBytes(file.path).text()),
                       validation_fraction);
    }
    return detail::make_window_split(
        std::move(streams), "tokens", context, validation_fraction);
}

}  // namespace fusionllm
