// Against what SentencePiece's own tool made, see sentencepiece/make.sh.

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/data/tokenizer.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/text.hpp"

#include "message_of.hpp"
#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

using testing::HasSubstr;
using Tokens = std::vector<Token>;

const std::string folder = FUSIONLLM_SENTENCEPIECE "/";

std::shared_ptr<const Tokenizer> load(const std::string& model) {
    return make_sentencepiece_tokenizer(folder + model + ".model");
}

//! Lines of tokens, by model.
std::map<std::string, std::vector<Tokens>> expected_tokens() {
    std::map<std::string, std::vector<Tokens>> expected;
    std::string model;
    std::istringstream text(read_file(folder + "encoded.txt"));
    for (std::string line; std::getline(text, line);) {
        if (line == "bytes" || line == "plain") {
            model = line;
            continue;
        }
        std::istringstream numbers(line);
        Tokens& tokens = expected[model].emplace_back();
        for (Token token = 0; numbers >> token;) {
            tokens.push_back(token);
        }
    }
    return expected;
}

std::vector<std::string> text_lines() {
    auto lines = split(read_file(folder + "text.txt"), '\n');
    lines.pop_back();
    return lines;
}

TEST(SentencePiece, makes_the_tokens_of_its_own_tool) {
    const auto lines = text_lines();

    for (const auto& [model, expected] : expected_tokens()) {
        const auto tokenizer = load(model);
        ASSERT_EQ(expected.size(), lines.size());
        for (std::size_t i = 0; i < lines.size(); ++i) {
            EXPECT_EQ(encode(*tokenizer, lines[i]), expected[i]) << lines[i];
        }
    }
}

TEST(SentencePiece, text_comes_back_with_a_space_before_each_line) {
    const auto tokenizer = load("bytes");
    const std::string text = read_file(folder + "text.txt");
    std::string expected;
    for (const std::string& line : text_lines()) {
        expected += (line.empty() ? "" : " ") + line + "\n";
    }

    EXPECT_EQ(tokenizer->decode(encode(*tokenizer, text)), expected);
}

TEST(SentencePiece, line_ends_that_a_model_has_no_token_for_are_left_out) {
    const auto tokenizer = load("plain");

    EXPECT_EQ(encode(*tokenizer, "the\n\nthe"), encode(*tokenizer, "the\nthe"));
    EXPECT_EQ(tokenizer->decode(encode(*tokenizer, "the\nthe")), " the the");
    EXPECT_EQ(tokenizer->decode(encode(*tokenizer, "the\u6A21")), " the\uFFFD");
}

TEST(SentencePiece, has_a_vocabulary_and_an_end_of_text) {
    const auto tokenizer = load("bytes");

    EXPECT_EQ(tokenizer->vocabulary(), 300u);
    EXPECT_EQ(tokenizer->end_of_text(), 2u);
    EXPECT_EQ(tokenizer->decode(Tokens{1, 2}), "");
    EXPECT_EQ(tokenizer->decode(Tokens{300}), "\uFFFD");
}

TEST(SentencePiece, enormous_lines_are_encoded_in_parts) {
    const auto tokenizer = load("bytes");
    std::string words;
    std::string no_spaces;
    for (int i = 0; i < 20000; ++i) {
        words += "stage ";
        no_spaces += "\u6A21";
    }

    std::size_t num_parts = 0;
    std::string text;
    tokenizer->encode(words, [&](std::span<const Token> tokens) {
        ++num_parts;
        text += tokenizer->decode(tokens);
    });

    EXPECT_EQ(num_parts, 2u);
    // The second part begins with its own space and the one of the model.
    EXPECT_EQ(text.size(), words.size() + 2);
    EXPECT_THAT(tokenizer->decode(encode(*tokenizer, no_spaces)),
                testing::Not(HasSubstr("\uFFFD")));
}

TEST(SentencePiece, other_files_are_no_model) {
    const TemporaryFolder temporary;
    std::string model = read_file(folder + "bytes.model");
    model.resize(model.size() / 2);

    for (const auto& [name, bytes] : std::map<std::string, std::string>{
             {"text", "no model"}, {"empty", ""}, {"half", model}}) {
        const auto file = temporary.write(name, bytes);
        EXPECT_THAT(
            message_of<InputError>([&] { make_sentencepiece_tokenizer(file); }),
            HasSubstr("is no model of SentencePiece"))
            << name;
    }
    EXPECT_THAT(message_of<InputError>(
                    [] { make_sentencepiece_tokenizer("/nowhere/x.model"); }),
                HasSubstr("/nowhere/x.model"));
}

}  // namespace
}  // namespace fusionllm::test
