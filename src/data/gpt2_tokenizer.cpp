#include <queue>
#include <utility>

#include "fusionllm/data/tokenizer.hpp"

#include "gpt2_vocabulary.hpp"
#include "gpt2_words.hpp"

namespace fusionllm {
namespace {

constexpr std::size_t tokens_at_once = 4096;
// Most words of a text are short and come again.
constexpr std::size_t longest_kept_word = 32;
constexpr std::size_t most_kept_words = std::size_t{1} << 16;
constexpr std::size_t nothing = static_cast<std::size_t>(-1);

/*!
 * Merges the pairs of one word in the order of their ranks, the left one of
 * equals first: a heap of pairs over a linked list of pieces, n log n steps for
 * n bytes, as a word may be as long as the text.
 */
class WordMerger {
public:
    explicit WordMerger(const detail::Gpt2Vocabulary& vocabulary)
        : vocabulary_(vocabulary) {}

    void operator()(std::string_view word, std::vector<Token>& tokens) {
        pieces_.clear();
        for (std::size_t i = 0; i < word.size(); ++i) {
            pieces_.push_back(
                {vocabulary_.of_byte[static_cast<unsigned char>(word[i])],
                 i == 0 ? nothing : i - 1,
                 i + 1 < word.size() ? i + 1 : nothing});
        }
        for (std::size_t i = 0; i + 1 < word.size(); ++i) {
            add_pair(i);
        }
        while (!pairs_.empty()) {
            const Pair pair = pairs_.top();
            pairs_.pop();
            merge(pair);
        }
        for (std::size_t i = 0; i != nothing; i = pieces_[i].next) {
            tokens.push_back(pieces_[i].token);
        }
    }

private:
    struct Piece {
        Token token;
        std::size_t previous;
        std::size_t next;
    };
    struct Pair {
        std::uint32_t rank;
        std::size_t left;
        Token left_token;  // as the pair was found: it may be gone
        Token right_token;
        Token merged;

        bool operator<(const Pair& other) const {  // the top is the least
            return std::pair(rank, left) > std::pair(other.rank, other.left);
        }
    };

    void add_pair(std::size_t left) {
        const Token left_token = pieces_[left].token;
        const Token right_token = pieces_[pieces_[left].next].token;
        const auto found =
            vocabulary_.merges.find(detail::key_of(left_token, right_token));
        if (found != vocabulary_.merges.end()) {
            pairs_.push({found->second.rank,
                         left,
                         left_token,
                         right_token,
                         found->second.token});
        }
    }

    void merge(const Pair& pair) {
        Piece& left = pieces_[pair.left];
        if (left.token != pair.left_token || left.next == nothing ||
            pieces_[left.next].token != pair.right_token) {
            return;
        }
        Piece& right = pieces_[left.next];
        left.token = pair.merged;
        left.next = std::exchange(right.next, nothing);
        right.token = gone;
        if (left.next != nothing) {
            pieces_[left.next].previous = pair.left;
            add_pair(pair.left);
        }
        if (left.previous != nothing) {
            add_pair(left.previous);
        }
    }

    static constexpr Token gone = static_cast<Token>(-1);

    const detail::Gpt2Vocabulary& vocabulary_;
    std::vector<Piece> pieces_;
    std::priority_queue<Pair> pairs_;
};

class Gpt2Tokenizer final : public Tokenizer {
public:
    explicit Gpt2Tokenizer(detail::Gpt2Vocabulary vocabulary)
        : vocabulary_(std::move(vocabulary)) {}

    std::size_t vocabulary() const override { return vocabulary_.bytes.size(); }

    void encode(std::string_view text, const Sink& sink) const override {
        WordMerger merge(vocabulary_);
        std::unordered_map<std::string_view, std::vector<Token>> kept;
        std::vector<Token> tokens;
        while (!text.empty()) {
            const std::string_view word = detail::first_word(text);
            text.remove_prefix(word.size());
            const auto found = kept.find(word);
            if (found != kept.end()) {
                tokens.insert(
                    tokens.end(), found->second.begin(), found->second.end());
            } else {
                const std::size_t begin = tokens.size();
                merge(word, tokens);
                if (word.size() <= longest_kept_word &&
                    kept.size() < most_kept_words) {
                    kept[word].assign(
                        tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                        tokens.end());
                }
            }
            if (tokens.size() >= tokens_at_once) {
                sink(tokens);
                tokens.clear();
            }
        }
        if (!tokens.empty()) {
            sink(tokens);
        }
    }

    std::string decode(std::span<const Token> tokens) const override {
        std::string text;
        for (const Token token : tokens) {
            if (token < vocabulary_.bytes.size()) {
                text += vocabulary_.bytes[token];
            } else {
                text += "\xEF\xBF\xBD";
            }
        }
        return text;
    }

    std::optional<Token> end_of_text() const override {
        return vocabulary_.end_of_text;
    }

private:
    detail::Gpt2Vocabulary vocabulary_;
};

}  // namespace

std::shared_ptr<const Tokenizer> make_gpt2_tokenizer(
    const std::filesystem::path& vocabulary_file,
    const std::filesystem::path& merges_file) {
    return std::make_shared<Gpt2Tokenizer>(
        detail::load_gpt2_vocabulary(vocabulary_file, merges_file));
}

}  // namespace fusionllm
