#include <algorithm>
#include <array>
#include <charconv>
#include <memory>

#include <dlfcn.h>

#include "fusionllm/data/tokenizer.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "sentencepiece_library.hpp"

namespace fusionllm {
namespace {

using detail::SentencePieceLibrary;
using Kind = SentencePieceLibrary::Kind;

constexpr std::size_t most_bytes_at_once = std::size_t{1} << 16;
constexpr std::string_view space_mark = "\u2581";

/*!
 * The library finds its own copy of Protocol Buffers before any other, and
 * nobody else finds it. (AddressSanitizer does not allow that.)
 */
int load_mode() {
#if defined(RTLD_DEEPBIND) && !defined(__SANITIZE_ADDRESS__)
    return RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
#else
    return RTLD_NOW | RTLD_LOCAL;
#endif
}

//! Loaded once, and kept until the program ends.
const SentencePieceLibrary& library() {
    static const SentencePieceLibrary* const loaded = [] {
        void* object = dlopen(detail::sentencepiece_object, load_mode());
        void* symbol = object == nullptr
                           ? nullptr
                           : dlsym(object, detail::sentencepiece_symbol);
        FUSIONLLM_VALIDATE(symbol != nullptr,
                           "tokenizer = \"sentencepiece\" needs SentencePiece, "
                           "which this program was built without, or cannot "
                           "load ({}); install libsentencepiece-dev and build "
                           "again, or tokenize elsewhere and use kind = "
                           "\"tokens\"",
                           dlerror());
        return reinterpret_cast<const SentencePieceLibrary* (*)()>(symbol)();
    }();
    return *loaded;
}

//! "<0x0A>" is a line's end.
char parse_byte(std::string_view piece) {
    unsigned byte = 0;
    if (piece.size() == 6) {
        std::from_chars(piece.data() + 3, piece.data() + 5, byte, 16);
    }
    return static_cast<char>(byte);
}

std::string text_of(const SentencePieceLibrary::Piece& piece) {
    std::string text(piece.bytes, piece.size);
    switch (piece.kind) {
        case Kind::control:
            return "";
        case Kind::unknown:
            return "\uFFFD";
        case Kind::byte:
            return {parse_byte(text)};
        case Kind::text:
            break;
    }
    for (std::size_t at = text.find(space_mark); at != text.npos;
         at = text.find(space_mark, at + 1)) {
        text.replace(at, space_mark.size(), " ");
    }
    return text;
}

//! So much of a line as is encoded at once: all but of enormous ones, which are
//! cut before a space, or else a character.
std::size_t length_at_once(std::string_view line) {
    if (line.size() <= most_bytes_at_once) {
        return line.size();
    }
    const std::size_t space = line.rfind(' ', most_bytes_at_once);
    if (space != line.npos && space > 0) {
        return space;
    }
    std::size_t end = most_bytes_at_once;
    const auto continues = [&](std::size_t at) {
        return (static_cast<unsigned char>(line[at]) & 0xC0U) == 0x80U;
    };
    while (end > most_bytes_at_once - 4 && continues(end)) {
        --end;
    }
    return end;
}

class SentencePieceTokenizer final : public Tokenizer {
public:
    explicit SentencePieceTokenizer(const std::filesystem::path& file) {
        const std::string bytes = read_file(file);
        std::array<char, 512> why{};
        model_.reset(
            library().open(bytes.data(), bytes.size(), why.data(), why.size()));
        FUSIONLLM_VALIDATE(model_ && library().size(model_.get()) > 0,
                           "'{}' is no model of SentencePiece{}{}; give the "
                           ".model file that spm_train made",
                           file.string(),
                           why.front() == '\0' ? "" : ": ",
                           why.data());
        const int end = library().end_of_text(model_.get());
        if (end >= 0) {
            end_of_text_ = static_cast<Token>(end);
        }
        read_pieces();
    }

    std::size_t vocabulary() const override { return texts_.size(); }

    void encode(std::string_view text, const Sink& sink) const override {
        while (!text.empty()) {
            const std::size_t end = std::min(text.find('\n'), text.size());
            std::string_view line = text.substr(0, end);
            while (!line.empty()) {
                const std::size_t length = length_at_once(line);
                encode_line(line.substr(0, length), sink);
                line.remove_prefix(length);
            }
            if (end < text.size() && line_end_) {
                sink({&*line_end_, 1});
            }
            text.remove_prefix(std::min(end + 1, text.size()));
        }
    }

    std::string decode(std::span<const Token> tokens) const override {
        std::string text;
        for (const Token token : tokens) {
            text += token < texts_.size() ? texts_[token] : "\uFFFD";
        }
        return text;
    }

    std::optional<Token> end_of_text() const override { return end_of_text_; }

private:
    void read_pieces() {
        const int size = library().size(model_.get());
        for (int token = 0; token < size; ++token) {
            texts_.push_back(text_of(library().piece(model_.get(), token)));
            if (texts_.back() == "\n" && !line_end_) {
                line_end_ = static_cast<Token>(token);
            }
        }
    }

    void encode_line(std::string_view line, const Sink& sink) const {
        std::vector<Token> tokens;
        library().encode(model_.get(),
                         line.data(),
                         line.size(),
                         &tokens,
                         [](void* taker, const int* first, std::size_t count) {
                             static_cast<std::vector<Token>*>(taker)->assign(
                                 first, first + count);
                         });
        sink(tokens);
    }

    std::unique_ptr<void, void (*)(void*)> model_{nullptr, library().close};
    std::vector<std::string> texts_;  // by token
    std::optional<Token> line_end_;
    std::optional<Token> end_of_text_;
};

}  // namespace

std::shared_ptr<const Tokenizer> make_sentencepiece_tokenizer(
    const std::filesystem::path& file) {
    return std::make_shared<SentencePieceTokenizer>(file);
}

}  // namespace fusionllm
