#include "fusionllm/data/token_files.hpp"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "message_of.hpp"
#include "rows_in_memory.hpp"
#include "temporary_folder.hpp"
#include "tiny_vocabulary.hpp"
#include "token_window.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Window = std::vector<std::int64_t>;

template <class Number>
std::string bytes_of(const std::vector<Number>& numbers) {
    return {reinterpret_cast<const char*>(numbers.data()),
            numbers.size() * sizeof(Number)};
}

std::string header(std::int32_t magic, std::int32_t num_tokens) {
    std::vector<std::int32_t> words(256);
    words[0] = magic;
    words[1] = 1;
    words[2] = num_tokens;
    return bytes_of(words);
}

Window window_of(const Dataset& dataset, std::size_t index) {
    const auto sample = dataset.get(index);
    Window window = tokens_of(sample.at(0));
    window.push_back(tokens_of(sample.at(1)).back());
    return window;
}

class TokenFilesTest : public testing::Test {
protected:
    std::string refusal(const std::string& bytes) {
        const auto file = folder_.write("x.bin", bytes);
        return message_of<InputError>(
            [&] { make_tokens_dataset({file}, 1, 70000, 0.0); });
    }

    TemporaryFolder folder_;
};

TEST_F(TokenFilesTest, tokens_of_16_bits_need_no_header) {
    const auto file =
        folder_.write("x.bin", bytes_of<std::uint16_t>({1, 50256, 300, 65535}));

    const auto split = make_tokens_dataset({file}, 2, 65536, 0.0);

    ASSERT_EQ(split.train->size(), 2u);
    EXPECT_EQ(window_of(*split.train, 0), (Window{1, 50256, 300}));
    EXPECT_EQ(window_of(*split.train, 1), (Window{50256, 300, 65535}));
    EXPECT_EQ(split.validation, nullptr);
}

StoredRows tokens_in_memory(std::vector<std::int64_t> tokens) {
    const auto size = static_cast<std::int64_t>(tokens.size());
    return rows_in_memory("'x'", DType::i64, {size}, std::move(tokens));
}

TEST_F(TokenFilesTest, tokens_may_be_rows_of_another_file) {
    const auto file =
        folder_.write("x.bin", bytes_of<std::uint16_t>({1, 2, 3, 4}));

    const auto split =
        make_tokens_dataset({tokens_in_memory({5, 6, 7, 8}), file}, 1, 9, 0.5);

    ASSERT_EQ(split.train->size(), 3u);
    EXPECT_EQ(window_of(*split.train, 0), (Window{5, 6}));
    EXPECT_EQ(window_of(*split.train, 1), (Window{6, 1}));
    ASSERT_EQ(split.validation->size(), 2u);
    EXPECT_EQ(window_of(*split.validation, 0), (Window{7, 8}));
    EXPECT_NE(
        split.train->content_hash(),
        make_tokens_dataset({tokens_in_memory({5, 6, 7, 9}), file}, 1, 10, 0.5)
            .train->content_hash());
}

TEST_F(TokenFilesTest, rows_that_are_no_tokens_are_refused) {
    const auto refuse = [](const StoredRows& rows) {
        return message_of<InputError>(
            [&] { make_tokens_dataset({rows}, 1, 9, 0.0); });
    };

    EXPECT_THAT(refuse(tokens_in_memory({1, -100, 3})),
                HasSubstr("has the number -100, which is no token"));
    EXPECT_THAT(refuse(tokens_in_memory({1, 9, 3})),
                HasSubstr("'x' has the token 9"));
    EXPECT_THAT(refuse(rows_in_memory<std::int64_t>(
                    "'x'", DType::i64, {2, 2}, {1, 2, 3, 4})),
                HasSubstr("tokens have one axis"));
}

TEST_F(TokenFilesTest, a_header_says_how_wide_tokens_are) {
    const auto narrow = folder_.write(
        "16.bin", header(20240520, 3) + bytes_of<std::uint16_t>({7, 8, 9}));
    const auto wide = folder_.write(
        "32.bin",
        header(20240801, 3) + bytes_of<std::uint32_t>({10, 128000, 11}));

    const auto train =
        make_tokens_dataset({narrow, wide}, 5, 128001, 0.0).train;

    ASSERT_EQ(train->size(), 1u);
    EXPECT_EQ(window_of(*train, 0), (Window{7, 8, 9, 10, 128000, 11}));
}

TEST_F(TokenFilesTest, the_end_of_every_file_is_validation) {
    const auto a = folder_.write(
        "a.bin", bytes_of<std::uint16_t>({0, 1, 2, 3, 4, 5, 6, 7}));
    const auto b =
        folder_.write("b.bin", bytes_of<std::uint16_t>({10, 11, 12, 13}));

    const auto split = make_tokens_dataset({a, b}, 2, 100, 0.5);

    ASSERT_EQ(split.train->size(), 4u);
    EXPECT_EQ(window_of(*split.train, 2), (Window{2, 3, 10}));
    ASSERT_EQ(split.validation->size(), 2u);
    EXPECT_EQ(window_of(*split.validation, 0), (Window{4, 5, 6}));
    EXPECT_EQ(window_of(*split.validation, 1), (Window{7, 12, 13}));
    EXPECT_NE(split.train->content_hash(), split.validation->content_hash());
}

TEST_F(TokenFilesTest, another_token_is_another_hash) {
    std::vector<std::uint16_t> tokens(100000, 5);
    const auto hash = [&] {
        const auto file = folder_.write("x.bin", bytes_of(tokens));
        return make_tokens_dataset({file}, 8, 100, 0.1).train->content_hash();
    };

    const auto before = hash();
    tokens[99999] = 6;

    EXPECT_NE(hash(), before);
}

TEST_F(TokenFilesTest, refuses_files_that_are_none) {
    EXPECT_THAT(refusal("abc"), HasSubstr("has 3 bytes, so it is no file"));
    EXPECT_THAT(refusal(header(20240520, 3) + "abcd"),
                HasSubstr("3 tokens of 2 bytes, but 4 bytes follow"));
    EXPECT_THAT(refusal(header(20240801, -1)), HasSubstr("-1 tokens"));
    EXPECT_THAT(refusal(""), HasSubstr("has 0 tokens, but one window"));
    EXPECT_THAT(
        message_of<InputError>([&] { make_tokens_dataset({}, 1, 10, 0.0); }),
        HasSubstr("no file of tokens"));
    EXPECT_THAT(message_of<InputError>([&] {
                    make_tokens_dataset({"/nowhere/x.bin"}, 1, 10, 0.0);
                }),
                HasSubstr("'/nowhere/x.bin'"));
    EXPECT_THAT(message_of<InputError>(
                    [&] { make_tokens_dataset({folder_.path()}, 1, 10, 0.0); }),
                HasSubstr(folder_.path().string()));
}

TEST_F(TokenFilesTest, a_token_above_the_vocabulary_is_refused) {
    const auto file =
        folder_.write("x.bin", bytes_of<std::uint16_t>({1, 2, 256, 3}));

    EXPECT_THAT(message_of<InputError>(
                    [&] { make_tokens_dataset({file}, 1, 256, 0.0); }),
                HasSubstr("has the token 256, but the model's vocabulary is "
                          "256; set vocabulary in [model] to that of the "
                          "tokens, 257 or more"));
    EXPECT_NO_THROW(make_tokens_dataset({file}, 1, 257, 0.0));
}

TEST_F(TokenFilesTest, tokenized_text_is_read_back) {
    const auto files = write_vocabulary(folder_, {"a b"});
    const auto tokenizer = make_gpt2_tokenizer(files.vocabulary, files.merges);
    const auto text = folder_.write("text/1.txt", "abc");
    folder_.write("text/2.txt", "ab");
    const auto output = folder_.path() / "x.bin";

    const auto done = tokenize_files(
        {folder_.path() / "text"}, *tokenizer, TextEnd::end_of_text, output);
    const auto train = make_tokens_dataset({output}, 4, 258, 0.0).train;

    EXPECT_EQ(done.num_files, 2u);
    EXPECT_EQ(done.num_bytes, 5u);
    EXPECT_EQ(done.num_tokens, 5u);
    ASSERT_EQ(train->size(), 1u);
    EXPECT_EQ(window_of(*train, 0), (Window{256, 'c', 257, 256, 257}));
    EXPECT_EQ(fs::file_size(output), 1024u + 2 * 5);
    EXPECT_FALSE(fs::exists(folder_.path() / "x.bin.tmp"));

    const auto plain =
        tokenize_files({text}, *tokenizer, TextEnd::nothing, output);
    EXPECT_EQ(plain.num_tokens, 2u);
}

TEST_F(TokenFilesTest, what_cannot_be_tokenized_leaves_the_old_file) {
    const auto text = folder_.write("a.txt", "abc");
    const auto output = folder_.write("x.bin", "old");
    const auto refuse = [&](const fs::path& input, TextEnd end) {
        return message_of<InputError>([&] {
            tokenize_files({input}, *make_byte_tokenizer(), end, output);
        });
    };

    EXPECT_THAT(refuse(text, TextEnd::end_of_text),
                HasSubstr("no token for the end of a text"));
    EXPECT_THAT(refuse(folder_.path() / "none", TextEnd::nothing),
                HasSubstr("none"));
    EXPECT_EQ(read_file(output), "old");
    EXPECT_THAT(message_of<InputError>([&] {
                    tokenize_files({text},
                                   *make_byte_tokenizer(),
                                   TextEnd::nothing,
                                   "/nowhere/x.bin");
                }),
                HasSubstr("cannot write '/nowhere/x.bin'"));
}

}  // namespace
}  // namespace fusionllm::test
