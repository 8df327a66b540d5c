#include "gpt2_vocabulary.hpp"

#include <limits>
#include <string_view>

#include <nlohmann/json.hpp>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm::detail {
namespace {

namespace fs = std::filesystem;
using Tokens = std::unordered_map<std::string, Token>;

std::string to_utf8(unsigned code) {  // below 0x800
    if (code < 0x80) {
        return {static_cast<char>(code)};
    }
    return {static_cast<char>(0xc0 | code >> 6),
            static_cast<char>(0x80 | (code & 0x3f))};
}

/*!
 * How the files write each byte: printable Latin-1 as itself, all others as the
 * characters from U+0100 on, so that no piece holds a space.
 */
std::array<std::string, 256> characters_of_bytes() {
    std::array<std::string, 256> characters;
    unsigned next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
        const bool is_printable = (byte >= '!' && byte <= '~') ||
                                  (byte >= 0xa1 && byte <= 0xac) ||
                                  byte >= 0xae;
        characters[byte] = to_utf8(is_printable ? byte : next++);
    }
    return characters;
}

//! A piece as the files write it -> its bytes; other characters stay.
class PieceReader {
public:
    PieceReader() {
        const auto characters = characters_of_bytes();
        for (std::size_t byte = 0; byte < characters.size(); ++byte) {
            bytes_[characters[byte]] = static_cast<char>(byte);
        }
    }

    std::string operator()(const std::string& piece) const {
        std::string bytes;
        for (std::size_t at = 0; at < piece.size();) {
            const auto first = static_cast<unsigned char>(piece[at]);
            const std::size_t length = first >= 0xc0 && first < 0xe0 ? 2 : 1;
            const auto found = bytes_.find(piece.substr(at, length));
            if (found == bytes_.end()) {
                bytes += piece[at++];
            } else {
                bytes += found->second;
                at += length;
            }
        }
        return bytes;
    }

private:
    std::unordered_map<std::string, char> bytes_;
};

Tokens read_tokens(const fs::path& file) {
    const auto json = nlohmann::json::parse(read_file(file), nullptr, false);
    FUSIONLLM_VALIDATE(json.is_object() && !json.empty(),
                       "'{}' is no vocabulary: it must be a JSON object of "
                       "pieces of text and their tokens, as in GPT-2's "
                       "encoder.json",
                       file.string());
    Tokens tokens;
    std::vector<bool> is_taken(json.size());
    for (const auto& [piece, token] : json.items()) {
        FUSIONLLM_VALIDATE(
            token.is_number_unsigned() &&
                token.get<std::uint64_t>() < json.size() &&
                !is_taken[token.get<std::size_t>()],
            "'{}' gives \"{}\" the token {}, but its {} pieces must have the "
            "tokens 0 to {}, each once",
            file.string(),
            piece,
            token.dump(),
            json.size(),
            json.size() - 1);
        is_taken[token.get<std::size_t>()] = true;
        tokens.emplace(piece, token.get<Token>());
    }
    return tokens;
}

std::unordered_map<std::uint64_t, Merge> read_merges(const fs::path& file,
                                                     const Tokens& tokens) {
    const std::string text = read_file(file);
    std::unordered_map<std::uint64_t, Merge> merges;
    std::size_t number = 0;
    for (const std::string& line : split(text, '\n')) {
        ++number;
        if (line.empty() || (number == 1 && line.starts_with("#version"))) {
            continue;
        }
        const auto parts = split(
            line.ends_with('\r') ? line.substr(0, line.size() - 1) : line, ' ');
        FUSIONLLM_VALIDATE(
            parts.size() == 2 && !parts[0].empty() && !parts[1].empty(),
            "{}:{}: \"{}\" is no merge: two pieces with a space between them "
            "are, as in GPT-2's vocab.bpe",
            file.string(),
            number,
            line);
        const auto token_of = [&](const std::string& piece) {
            const auto found = tokens.find(piece);
            FUSIONLLM_VALIDATE(found != tokens.end(),
                               "{}:{}: the piece \"{}\" is not in the "
                               "vocabulary; give files that belong together",
                               file.string(),
                               number,
                               piece);
            return found->second;
        };
        merges.emplace(key_of(token_of(parts[0]), token_of(parts[1])),
                       Merge{static_cast<std::uint32_t>(number),
                             token_of(parts[0] + parts[1])});
    }
    return merges;
}

}  // namespace

Gpt2Vocabulary load_gpt2_vocabulary(const fs::path& vocabulary_file,
                                    const fs::path& merges_file) {
    const Tokens tokens = read_tokens(vocabulary_file);
    Gpt2Vocabulary vocabulary;
    const PieceReader read_piece;
    vocabulary.bytes.resize(tokens.size());
    for (const auto& [piece, token] : tokens) {
        vocabulary.bytes[token] = read_piece(piece);
    }
    const auto characters = characters_of_bytes();
    for (std::size_t byte = 0; byte < characters.size(); ++byte) {
        const auto found = tokens.find(characters[byte]);
        FUSIONLLM_VALIDATE(found != tokens.end(),
                           "'{}' has no token for the byte 0x{:02x} (\"{}\"), "
                           "which a text may have; give a byte-level "
                           "vocabulary as GPT-2's is",
                           vocabulary_file.string(),
                           byte,
                           characters[byte]);
        vocabulary.of_byte[byte] = found->second;
    }
    const auto end = tokens.find("<|endoftext|>");
    if (end != tokens.end()) {
        vocabulary.end_of_text = end->second;
    }
    vocabulary.merges = read_merges(merges_file, tokens);
    return vocabulary;
}

}  // namespace fusionllm::detail
