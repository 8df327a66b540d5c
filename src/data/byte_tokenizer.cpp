#include <algorithm>
#include <array>

#include "fusionllm/data/tokenizer.hpp"

namespace fusionllm {
namespace {

class ByteTokenizer final : public Tokenizer {
public:
    std::size_t vocabulary() const override { return 256; }

    void encode(std::string_view text, const Sink& sink) const override {
        std::array<Token, 4096> tokens;
        while (!text.empty()) {
            const auto some = text.substr(0, tokens.size());
            std::ranges::transform(some, tokens.begin(), [](char byte) {
                return static_cast<unsigned char>(byte);
            });
            sink(std::span(tokens).first(some.size()));
            text.remove_prefix(some.size());
        }
    }

    std::string decode(std::span<const Token> tokens) const override {
        std::string text;
        for (const Token token : tokens) {
            if (token < 256) {
                text += static_cast<char>(token);
            } else {
                text += "\xEF\xBF\xBD";
            }
        }
        return text;
    }

    std::optional<Token> end_of_text() const override { return std::nullopt; }
};

}  // namespace

std::vector<Token> encode(const Tokenizer& tokenizer, std::string_view text) {
    std::vector<Token> all;
    tokenizer.encode(text, [&](std::span<const Token> tokens) {
        all.insert(all.end(), tokens.begin(), tokens.end());
    });
    return all;
}

std::shared_ptr<const Tokenizer> make_byte_tokenizer() {
    return std::make_shared<ByteTokenizer>();
}

}  // namespace fusionllm
