#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fusionllm {

using Token = std::uint32_t;

/*!
 * Text as numbers, and back: `decode(encode(text)) == text` for any bytes,
 * unless a tokenizer says otherwise.
 *
 * Safe to use from several threads.
 */
class Tokenizer {
public:
    using Sink = std::function<void(std::span<const Token>)>;

    virtual ~Tokenizer() = default;
    //! Tokens are below it; never 0.
    virtual std::size_t vocabulary() const = 0;
    //! The tokens in order, some at a time, so that none need be kept.
    virtual void encode(std::string_view text, const Sink& sink) const = 0;
    //! A token that is not in the vocabulary is U+FFFD.
    virtual std::string decode(std::span<const Token> tokens) const = 0;
    //! What stands between two texts; no text has it. None if there is none.
    virtual std::optional<Token> end_of_text() const = 0;
};

std::vector<Token> encode(const Tokenizer& tokenizer, std::string_view text);

//! A token a byte, 256 of them.
std::shared_ptr<const Tokenizer> make_byte_tokenizer();

/*!
 * The byte-level byte-pair encoding of GPT-2 (Radford et al., "Language models
 * are unsupervised multitask learners", 2019).
 *
 * `vocabulary_file` is its encoder.json, a JSON object of all pieces and their
 * tokens; `merges_file` its vocab.bpe, a pair of pieces a line, those to be
 * merged first on top. Text is split into words (letters, numbers, other
 * characters, spaces; of Unicode 17), whose bytes are merged pair by pair.
 * "<|endoftext|>" in a text is text; bytes that are no UTF-8 are characters of
 * no class. Throws `InputError` for files that are no such vocabulary.
 */
std::shared_ptr<const Tokenizer> make_gpt2_tokenizer(
    const std::filesystem::path& vocabulary_file,
    const std::filesystem::path& merges_file);

/*!
 * A model of SentencePiece (Kudo and Richardson, EMNLP 2018), read and applied
 * by its own library: each line by itself as `spm_encode` does (those above
 * 64 KiB in parts), and behind it the token of a line's end, if the model has
 * one (as a byte or a piece).
 *
 * Text comes back as the model normalised it, with the space that most models
 * put before a line, without line ends that it has no token for, and with
 * U+FFFD for what it does not know. The end of a text is the model's "</s>".
 * Throws `InputError` for a file that is no such model, and where the program
 * was built without the library.
 */
std::shared_ptr<const Tokenizer> make_sentencepiece_tokenizer(
    const std::filesystem::path& file);

}  // namespace fusionllm
