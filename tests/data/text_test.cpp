#include "fusionllm/data/text.hpp"

#include <cmath>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "temporary_folder.hpp"
#include "tiny_vocabulary.hpp"
#include "token_window.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

//! The bytes of a sample's window.
std::string window_of(const std::vector<HostTensor>& sample) {
    const auto tokens = tokens_of(sample.at(0));
    const auto labels = tokens_of(sample.at(1));
    std::string window(tokens.begin(), tokens.end());
    window.push_back(static_cast<char>(labels.back()));
    return window;
}

//! The stream behind a dataset whose windows begin every `stride` bytes.
std::string stream_of(const Dataset& dataset, std::size_t stride) {
    std::string stream = window_of(dataset.get(0));
    for (std::size_t i = 1; i < dataset.size(); ++i) {
        const std::string window = window_of(dataset.get(i));
        stream += window.substr(window.size() - stride);
    }
    return stream;
}

std::string train_stream_of(const std::vector<fs::path>& paths) {
    return stream_of(*make_text_dataset(paths, 2, 0.0).train, 1);
}

std::string message_of(const std::vector<fs::path>& paths,
                       std::size_t context,
                       double validation_fraction) {
    try {
        make_text_dataset(paths, context, validation_fraction);
    } catch (const InputError& error) {
        return error.what();
    }
    return "was taken";
}

class TextDatasetTest : public testing::Test {
protected:
    TemporaryFolder folder_;
};

TEST_F(TextDatasetTest, labels_are_the_tokens_shifted_by_one) {
    const auto file = folder_.write("a.txt",
                                    "ab\xC3\xBC\n"
                                    "f");

    const auto split = make_text_dataset({file}, 3, 0.0);
    const auto sample = split.train->get(1);

    EXPECT_EQ(tokens_of(sample.at(0)),
              (std::vector<std::int64_t>{'b', 0xC3, 0xBC}));
    EXPECT_EQ(tokens_of(sample.at(1)),
              (std::vector<std::int64_t>{0xC3, 0xBC, '\n'}));
    EXPECT_EQ(sample.size(), 2u);
}

TEST_F(TextDatasetTest, a_training_sample_is_any_window) {
    const auto file = folder_.write("a.txt", "abcdef");

    const auto train = make_text_dataset({file}, 3, 0.0).train;

    ASSERT_EQ(train->size(), 3u);
    EXPECT_EQ(window_of(train->get(0)), "abcd");
    EXPECT_EQ(window_of(train->get(1)), "bcde");
    EXPECT_EQ(window_of(train->get(2)), "cdef");
}

TEST_F(TextDatasetTest, validation_windows_do_not_overlap) {
    const auto file = folder_.write("a.txt", "0123456789abcdefghij");

    const auto validation = make_text_dataset({file}, 2, 0.5).validation;

    ASSERT_EQ(validation->size(), 3u);
    EXPECT_EQ(window_of(validation->get(0)), "abc");
    EXPECT_EQ(window_of(validation->get(1)), "def");
    EXPECT_EQ(window_of(validation->get(2)), "ghi");
}

TEST_F(TextDatasetTest, training_and_validation_share_no_byte) {
    std::string text;
    for (int byte = 1; byte < 256; ++byte) {
        text.push_back(static_cast<char>(byte));
    }
    folder_.write("a.txt", text.substr(0, 100));
    folder_.write("b.txt", text.substr(100));

    const auto split = make_text_dataset({folder_.path()}, 4, 0.2);
    const std::string train = stream_of(*split.train, 1);
    const std::string validation = stream_of(*split.validation, 5);

    EXPECT_EQ(train, text.substr(0, 80) + text.substr(100, 124));
    EXPECT_EQ(validation,
              (text.substr(80, 20) + text.substr(224, 31)).substr(0, 50));
}

TEST_F(TextDatasetTest, there_is_no_validation_without_a_fraction) {
    const auto file = folder_.write("a.txt", "abcdef");

    EXPECT_EQ(make_text_dataset({file}, 3, 0.0).validation, nullptr);
}

TEST_F(TextDatasetTest, folders_are_walked_in_the_order_of_names) {
    for (const char* name : {"z", "b/y", "b/a", "a", "B", "b.txt"}) {
        folder_.write(name, std::string("<") + name + ">");
    }

    EXPECT_EQ(train_stream_of({folder_.path()}), "<B><a><b.txt><b/a><b/y><z>");
}

TEST_F(TextDatasetTest, the_split_does_not_depend_on_how_files_are_listed) {
    const std::vector<std::string> names = {"c", "a", "d", "b", "e"};
    for (const auto& name : names) {
        folder_.write("one/" + name, "text of " + name);
    }
    for (auto name = names.rbegin(); name != names.rend(); ++name) {
        folder_.write("two/" + *name, "text of " + *name);
    }

    const auto one = make_text_dataset({folder_.path() / "one"}, 4, 0.3);
    const auto two = make_text_dataset({folder_.path() / "two/"}, 4, 0.3);

    EXPECT_EQ(stream_of(*one.train, 1), stream_of(*two.train, 1));
    EXPECT_EQ(stream_of(*one.validation, 5), stream_of(*two.validation, 5));
    EXPECT_EQ(one.train->content_hash(), two.train->content_hash());
}

TEST_F(TextDatasetTest, hidden_and_binary_files_of_a_folder_are_left_out) {
    folder_.write("a.txt", "seen");
    folder_.write(".b.txt", "hidden");
    folder_.write(".git/c.txt", "in a hidden folder");
    folder_.write("d.bin", std::string("zero\0byte", 9));
    folder_.write("e.bin", std::string(8191, 'x') + '\0');
    folder_.write("f.txt", "");
    folder_.write("g/h.txt", "too");

    EXPECT_EQ(train_stream_of({folder_.path()}), "seentoo");
}

TEST_F(TextDatasetTest, a_zero_byte_after_the_first_8_kib_is_text) {
    const std::string text = std::string(8192, 'x') + '\0';
    folder_.write("a.txt", text);

    EXPECT_EQ(train_stream_of({folder_.path()}), text);
}

TEST_F(TextDatasetTest, a_hidden_file_that_is_named_is_taken) {
    const auto file = folder_.write(".a.txt", "hidden");

    EXPECT_EQ(train_stream_of({file}), "hidden");
}

TEST_F(TextDatasetTest, a_binary_file_that_is_named_is_refused) {
    const auto file = folder_.write("a.pt", std::string("PK\0\0....", 8));

    EXPECT_THAT(message_of({file}, 2, 0.0),
                AllOf(HasSubstr(file.string()), HasSubstr("zero byte")));
}

TEST_F(TextDatasetTest, paths_are_taken_as_given_and_files_once) {
    const auto b = folder_.write("b.txt", "second");
    const auto a = folder_.write("a.txt", "first");
    fs::create_symlink("a.txt", folder_.path() / "c.txt");

    EXPECT_EQ(train_stream_of({b, a}), "secondfirst");
    EXPECT_EQ(train_stream_of({b, folder_.path(), a}), "secondfirst");
}

TEST_F(TextDatasetTest, a_link_to_a_folder_above_is_not_followed) {
    folder_.write("a/b.txt", "once");
    fs::create_directory_symlink("..", folder_.path() / "a" / "up");

    EXPECT_EQ(train_stream_of({folder_.path()}), "once");
}

TEST_F(TextDatasetTest, content_hash_sees_bytes_and_split_but_not_names) {
    const auto a = folder_.write("a.txt", "the same text in both");
    const auto b = folder_.write("b.md", "the same text in both");
    const auto c = folder_.write("c.txt", "the same text in BOTH");
    const auto hash_of = [](const fs::path& file, double fraction) {
        return make_text_dataset({file}, 2, fraction).train->content_hash();
    };

    EXPECT_EQ(hash_of(a, 0.2), hash_of(b, 0.2));
    EXPECT_NE(hash_of(a, 0.2), hash_of(c, 0.2));
    EXPECT_NE(hash_of(a, 0.2), hash_of(a, 0.4));
    EXPECT_NE(hash_of(a, 0.2), hash_of(a, 0.0));
}

TEST_F(TextDatasetTest, content_hash_sees_a_byte_far_from_the_begin) {
    std::string text(200000, 'x');
    const auto a = folder_.write("a.txt", text);
    text[150000] = 'y';
    const auto b = folder_.write("b.txt", text);

    EXPECT_NE(make_text_dataset({a}, 2, 0.0).train->content_hash(),
              make_text_dataset({b}, 2, 0.0).train->content_hash());
}

TEST_F(TextDatasetTest, training_and_validation_have_hashes_of_their_own) {
    const auto file = folder_.write("a.txt", "0123456789");

    const auto split = make_text_dataset({file}, 2, 0.5);

    EXPECT_NE(split.train->content_hash(), split.validation->content_hash());
}

TEST_F(TextDatasetTest, one_window_is_enough_and_one_byte_less_is_not) {
    const auto enough = folder_.write("a.txt", "01234567");
    const auto less = folder_.write("b.txt", "0123456");

    EXPECT_EQ(make_text_dataset({enough}, 7, 0.0).train->size(), 1u);
    EXPECT_THAT(
        message_of({less}, 7, 0.0),
        AllOf(HasSubstr("training text has 7 bytes"), HasSubstr("need 8")));
}

TEST_F(TextDatasetTest, too_little_validation_text_says_what_to_try) {
    const auto file = folder_.write("a.txt", std::string(100, 'x'));

    EXPECT_THAT(message_of({file}, 10, 0.1),
                AllOf(HasSubstr("validation text has 10 bytes"),
                      HasSubstr("need 11"),
                      HasSubstr("larger validation fraction")));
}

TEST_F(TextDatasetTest, what_is_missing_is_named) {
    folder_.write("empty/.hidden", "x");
    const auto none = folder_.path() / "none.txt";
    const auto empty = folder_.path() / "empty";

    EXPECT_THAT(message_of({none}, 2, 0.0), HasSubstr(none.string()));
    EXPECT_THAT(message_of({empty}, 2, 0.0), HasSubstr(empty.string()));
    EXPECT_THAT(message_of({}, 2, 0.0), HasSubstr("no path"));
    EXPECT_THAT(message_of({"/dev/null"}, 2, 0.0), HasSubstr("/dev/null"));
}

TEST_F(TextDatasetTest, refuses_a_context_or_a_fraction_without_sense) {
    const auto file = folder_.write("a.txt", "0123456789");

    EXPECT_THAT(message_of({file}, 0, 0.0), HasSubstr("context"));
    for (const double fraction : {-0.1, 1.0, 2.0, std::nan("")}) {
        EXPECT_THAT(message_of({file}, 2, fraction),
                    HasSubstr("validation fraction is"));
    }
}

TEST_F(TextDatasetTest, windows_go_across_files_of_any_size) {
    const std::string large(100000, 'x');  // mapped, the others copied
    folder_.write("a.txt", "ab");
    folder_.write("b.txt", "");
    folder_.write("c.txt", "y" + large + "z");
    folder_.write("d.txt", "cd");

    const auto train = make_text_dataset({folder_.path()}, 3, 0.0).train;

    ASSERT_EQ(train->size(), 100006u - 3);
    EXPECT_EQ(window_of(train->get(0)), "abyx");
    EXPECT_EQ(window_of(train->get(50000)), "xxxx");
    EXPECT_EQ(window_of(train->get(100002)), "xzcd");
}

TEST_F(TextDatasetTest, the_hash_is_that_of_the_whole_sequence) {
    const std::string text = std::string(70000, 'x') + std::string(70000, 'y');
    const auto whole = folder_.write("whole.txt", text);
    const auto first = folder_.write("1.txt", text.substr(0, 3));
    const auto middle = folder_.write("2.txt", text.substr(3, 99997));
    const auto last = folder_.write("3.txt", text.substr(100000));
    const auto hash = [](const std::vector<fs::path>& paths) {
        return make_text_dataset(paths, 3, 0.0).train->content_hash();
    };

    EXPECT_EQ(hash({first, middle, last}), hash({whole}));
    EXPECT_NE(hash({middle, first, last}), hash({whole}));
}

TEST_F(TextDatasetTest, a_tokenizer_makes_the_tokens_of_each_file) {
    const auto files = write_vocabulary(folder_, {"a b", "c d"});
    const auto tokenizer = make_gpt2_tokenizer(files.vocabulary, files.merges);
    const auto a = folder_.write("a.txt", "abcdaxc");
    const auto b = folder_.write("b.txt", "dabab");

    const auto split = make_text_dataset({a, b}, *tokenizer, 2, 0.0);
    const auto halves = make_text_dataset({a, b}, *tokenizer, 1, 0.5);

    // 256 257 a x c | d 256 256
    ASSERT_EQ(split.train->size(), 6u);
    EXPECT_EQ(tokens_of(split.train->get(0).at(0)),
              (std::vector<std::int64_t>{256, 257}));
    EXPECT_EQ(tokens_of(split.train->get(3).at(0)),
              (std::vector<std::int64_t>{'x', 'c'}));
    EXPECT_EQ(tokens_of(split.train->get(3).at(1)),
              (std::vector<std::int64_t>{'c', 'd'}));
    EXPECT_EQ(split.validation, nullptr);
    ASSERT_EQ(halves.train->size(), 4u);  // 256 257 a | d 256
    EXPECT_EQ(tokens_of(halves.train->get(2).at(1)),
              (std::vector<std::int64_t>{'d'}));
    ASSERT_EQ(halves.validation->size(), 1u);  // x c | 256
    EXPECT_EQ(tokens_of(halves.validation->get(0).at(1)),
              (std::vector<std::int64_t>{'c'}));
}

TEST_F(TextDatasetTest, too_few_tokens_are_counted_in_tokens) {
    const auto files = write_vocabulary(folder_, {"a b"});
    const auto tokenizer = make_gpt2_tokenizer(files.vocabulary, files.merges);
    const auto a = folder_.write("a.txt", "abab");

    try {
        make_text_dataset({a}, *tokenizer, 2, 0.0);
        FAIL();
    } catch (const InputError& error) {
        EXPECT_THAT(error.what(), HasSubstr("has 2 tokens, but one window"));
    }
}

}  // namespace
}  // namespace fusionllm::test
