#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "fusionllm/data/tokenizer.hpp"

namespace fusionllm::detail {

//! Two neighbouring tokens become one; those of least rank first.
struct Merge {
    std::uint32_t rank = 0;
    Token token = 0;
};

constexpr std::uint64_t key_of(Token left, Token right) {
    return std::uint64_t{left} << 32 | right;
}

//! What encoder.json and vocab.bpe say, with bytes for their characters.
struct Gpt2Vocabulary {
    std::vector<std::string> bytes;  //!< of each token
    std::array<Token, 256> of_byte{};
    std::unordered_map<std::uint64_t, Merge> merges;  //!< by `key_of`
    std::optional<Token> end_of_text;
};

//! Throws `InputError` with the file and what is wrong in it.
Gpt2Vocabulary load_gpt2_vocabulary(
    const std::filesystem::path& vocabulary_file,
    const std::filesystem::path& merges_file);

}  // namespace fusionllm::detail
