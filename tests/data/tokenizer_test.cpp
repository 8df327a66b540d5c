#include "fusionllm/data/tokenizer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "message_of.hpp"
#include "temporary_folder.hpp"
#include "tiny_vocabulary.hpp"

namespace fusionllm::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Tokens = std::vector<Token>;

std::string all_bytes() {
    std::string bytes;
    for (int byte = 0; byte < 256; ++byte) {
        bytes += static_cast<char>(byte);
    }
    return bytes;
}

TEST(ByteTokenizer, makes_a_token_of_each_byte_and_back) {
    const auto tokenizer = make_byte_tokenizer();

    const Tokens tokens = encode(*tokenizer, all_bytes());

    ASSERT_EQ(tokens.size(), 256u);
    EXPECT_EQ(tokens[200], 200u);
    EXPECT_EQ(tokenizer->decode(tokens), all_bytes());
    EXPECT_EQ(tokenizer->vocabulary(), 256u);
    EXPECT_EQ(tokenizer->end_of_text(), std::nullopt);
}

TEST(ByteTokenizer, takes_texts_of_any_length) {
    const std::string text(100001, 'x');

    EXPECT_EQ(encode(*make_byte_tokenizer(), text).size(), text.size());
}

class Gpt2TokenizerTest : public testing::Test {
protected:
    std::shared_ptr<const Tokenizer> make(
        const std::vector<std::string>& merges) {
        const auto files = write_vocabulary(folder_, merges);
        return make_gpt2_tokenizer(files.vocabulary, files.merges);
    }

    //! The pieces of a text, as texts.
    std::vector<std::string> pieces(const std::vector<std::string>& merges,
                                    std::string_view text) {
        const auto tokenizer = make(merges);
        std::vector<std::string> pieces;
        for (const Token token : encode(*tokenizer, text)) {
            pieces.push_back(tokenizer->decode(Tokens{token}));
        }
        return pieces;
    }

    std::string message(const std::string& vocabulary,
                        const std::string& merges) {
        const auto vocabulary_file = folder_.write("v.json", vocabulary);
        const auto merges_file = folder_.write("m.bpe", merges);
        return message_of<InputError>(
            [&] { make_gpt2_tokenizer(vocabulary_file, merges_file); });
    }

    TemporaryFolder folder_;
};

TEST_F(Gpt2TokenizerTest, merges_pairs_in_the_order_of_the_file) {
    EXPECT_EQ(pieces({"t h", "h e", "th e"}, "the"),
              (std::vector<std::string>{"the"}));
    EXPECT_EQ(pieces({"h e", "t h", "th e"}, "the"),
              (std::vector<std::string>{"t", "he"}));
}

TEST_F(Gpt2TokenizerTest, merges_equal_pairs_from_the_left) {
    EXPECT_EQ(pieces({"a a"}, "aaaaa"),
              (std::vector<std::string>{"aa", "aa", "a"}));
    EXPECT_EQ(pieces({"a a", "aa aa"}, "aaaaaaa"),
              (std::vector<std::string>{"aaaa", "aa", "a"}));
}

TEST_F(Gpt2TokenizerTest, a_space_joins_the_word_behind_it) {
    // \u0120 is a space, \u010A a line feed.
    EXPECT_EQ(pieces({"\u0120 a", "a \u0120", "b c"}, "a a bc"),
              (std::vector<std::string>{"a", " a", " ", "bc"}));
}

TEST_F(Gpt2TokenizerTest, of_several_spaces_the_last_one_joins_the_word) {
    const std::vector<std::string> merges = {
        "\u0120 \u0120", "\u0120 a", "\u0120\u0120 \u0120"};

    EXPECT_EQ(pieces(merges, "a   a"),
              (std::vector<std::string>{"a", "  ", " a"}));
    EXPECT_EQ(pieces(merges, "a   "), (std::vector<std::string>{"a", "   "}));
}

TEST_F(Gpt2TokenizerTest, a_line_feed_does_not_join_the_word_behind_it) {
    EXPECT_EQ(pieces({"\u010A a", "\u010A \u010A"}, "\n\na"),
              (std::vector<std::string>{"\n", "\n", "a"}));
}

TEST_F(Gpt2TokenizerTest, letters_numbers_and_others_are_words_of_their_own) {
    const std::vector<std::string> merges = {
        "a 1", "1 a", "a !", "! a", "1 !", "! 1", "a a", "1 1", "! !"};

    EXPECT_EQ(pieces(merges, "aa11!!a1!"),
              (std::vector<std::string>{"aa", "11", "!!", "a", "1", "!"}));
}

TEST_F(Gpt2TokenizerTest, contractions_are_words) {
    const std::vector<std::string> merges = {
        "' r", "'r e", "' l", "r e", "s s", "' s", "\u0120 '"};

    EXPECT_EQ(pieces(merges, "a're"), (std::vector<std::string>{"a", "'re"}));
    EXPECT_EQ(pieces(merges, "a'ss"),
              (std::vector<std::string>{"a", "'s", "s"}));
    EXPECT_EQ(pieces(merges, "a'la"),
              (std::vector<std::string>{"a", "'", "l", "a"}));
    EXPECT_EQ(pieces(merges, "a 'ss"),
              (std::vector<std::string>{"a", " '", "ss"}));
}

TEST_F(Gpt2TokenizerTest, knows_letters_numbers_and_spaces_of_unicode) {
    // U+00E9 (letter), U+0663 (number), U+3000 (space), U+20AC (neither). The
    // bytes C3 A9 D9 A3 E3 80 80 E2 82 AC are written as these characters:
    const std::vector<std::string> merges = {
        "\u00C3 \u00A9",        // letter
        "\u00D9 \u00A3",        // number
        "\u00C3\u00A9 a",       // letter, then a
        "a \u00D9\u00A3",       // a, then number
        "\u00E3 \u0122",        // first bytes of the space
        "\u00E3\u0122 \u0122",  // space
        "\u00D9\u00A3 1",       // number, then 1
    };

    EXPECT_EQ(pieces(merges, "\u00E9a\u06631\u3000a"),
              (std::vector<std::string>{"\u00E9a", "\u06631", "\u3000", "a"}));
    EXPECT_EQ(pieces({"a \u00E2", "! \u00E2"}, "a\u20AC"),
              (std::vector<std::string>{"a", "\xE2", "\x82", "\xAC"}));
    EXPECT_EQ(pieces({"a \u00E2", "! \u00E2"}, "!\u20AC"),
              (std::vector<std::string>{"!\xE2", "\x82", "\xAC"}));
}

TEST_F(Gpt2TokenizerTest, decodes_what_it_encoded_whatever_the_bytes) {
    const auto tokenizer = make({"a a", "\u0120 a", "\u00C3 \u00A9"});
    const std::string texts[] = {
        "",
        " ",
        "'",
        all_bytes(),
        "\xC3",              // half a character at the end
        "\xF8\x80\x80\x80",  // no such character
        "\xC0\x80 \xED\xA0\x80 \xF4\x90\x80\x80",
        std::string("a\0b", 3),
        std::string(70000, 'a') + "\u00E9 a",
    };

    for (const std::string& text : texts) {
        EXPECT_EQ(tokenizer->decode(encode(*tokenizer, text)), text);
    }
}

TEST_F(Gpt2TokenizerTest, the_end_of_text_is_a_token_that_no_text_makes) {
    const auto tokenizer = make({"a a"});

    ASSERT_EQ(tokenizer->end_of_text(), 257u);
    EXPECT_EQ(tokenizer->vocabulary(), 258u);
    EXPECT_EQ(tokenizer->decode(Tokens{257}), "<|endoftext|>");
    EXPECT_EQ(encode(*tokenizer, "<|endoftext|>").size(), 13u);
}

TEST_F(Gpt2TokenizerTest, decodes_a_token_that_is_none_as_a_replacement) {
    EXPECT_EQ(make({})->decode(Tokens{'a', 100000, 'b'}), "a\uFFFDb");
}

TEST_F(Gpt2TokenizerTest, refuses_files_that_are_no_vocabulary) {
    EXPECT_THAT(message("[1]", ""),
                AllOf(HasSubstr("v.json' is no vocabulary"),
                      HasSubstr("encoder.json")));
    EXPECT_THAT(message("{\"a\": 0", ""), HasSubstr("is no vocabulary"));
    EXPECT_THAT(message("{\"a\": 0, \"b\": 7}", ""),
                HasSubstr("gives \"b\" the token 7, but its 2 pieces must"));
    EXPECT_THAT(message("{\"a\": 0, \"b\": 0}", ""), HasSubstr("each once"));
    EXPECT_THAT(message("{\"a\": 0, \"b\": -1}", ""), HasSubstr("token -1"));
    EXPECT_THAT(message("{\"a\": 0, \"b\": \"1\"}", ""), HasSubstr("\"1\""));
    EXPECT_THAT(message("{\"a\": 0}", ""),
                HasSubstr("has no token for the byte 0x00"));
}

TEST_F(Gpt2TokenizerTest, refuses_merges_that_do_not_fit) {
    const auto files = write_vocabulary(folder_, {"a a"});
    const auto refuse = [&](const std::string& merges) {
        const auto file = folder_.write("m.bpe", merges);
        return message_of<InputError>(
            [&] { make_gpt2_tokenizer(files.vocabulary, file); });
    };

    EXPECT_THAT(refuse("#version: 0.2\na a\na b\n"),
                HasSubstr("m.bpe:3: the piece \"ab\" is not in the "
                          "vocabulary"));
    EXPECT_THAT(refuse("a a a\n"), HasSubstr("m.bpe:1: \"a a a\" is no merge"));
    EXPECT_THAT(refuse("aa\n"), HasSubstr("is no merge"));
    EXPECT_THAT(message_of<InputError>([&] {
                    make_gpt2_tokenizer(files.vocabulary, "/nowhere/x");
                }),
                HasSubstr("/nowhere/x"));
}

}  // namespace
}  // namespace fusionllm::test
