#include "app/load_data.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "data/tiny_vocabulary.hpp"
#include "message_of.hpp"
#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

using testing::HasSubstr;

class LoadDataTest : public testing::Test {
protected:
    RunInput parse(const std::string& data,
                   const std::vector<std::string>& overrides) {
        return parse_run_input(
            "[data]\n" + data, folder_.path() / "x.toml", overrides);
    }

    TemporaryFolder folder_;
};

TEST_F(LoadDataTest, text_becomes_the_tokens_of_the_tokenizer) {
    write_vocabulary(folder_, {"a b"});
    folder_.write("a.txt", "ababab");
    const std::string bytes = "path = 'a.txt'\nvalidation_fraction = 0\n";
    const std::string gpt2 =
        bytes +
        "tokenizer = 'gpt2'\nvocabulary_file = 'encoder.json'\n"
        "merges_file = 'vocab.bpe'\n";
    const std::vector<std::string> model{"model.context=2",
                                         "model.vocabulary=258"};

    EXPECT_EQ(load_data(parse(bytes, model)).train->size(), 4u);
    EXPECT_EQ(load_data(parse(gpt2, model)).train->size(), 1u);
    EXPECT_EQ(load_tokenizer(parse(gpt2, model).data)->vocabulary(), 258u);
    EXPECT_EQ(load_tokenizer(parse(bytes, model).data)->vocabulary(), 256u);
    EXPECT_THAT(
        message_of<InputError>(
            [&] { load_data(parse(gpt2, {"model.vocabulary=257"})); }),
        HasSubstr("vocabulary = 257 in [model] is too small for tokenizer = "
                  "\"gpt2\", which makes 258 different tokens"));
}

TEST_F(LoadDataTest, token_files_are_held_against_the_vocabulary) {
    folder_.write("a.bin", std::string("\x01\x00\x02\x00\xFF\x00", 6));
    const std::string tokens =
        "kind = 'tokens'\npath = 'a.bin'\nvalidation_fraction = 0\n";

    const auto split =
        load_data(parse(tokens, {"model.context=2", "model.vocabulary=256"}));

    EXPECT_EQ(split.train->size(), 1u);
    EXPECT_THAT(message_of<InputError>([&] {
                    load_data(parse(
                        tokens, {"model.context=2", "model.vocabulary=255"}));
                }),
                HasSubstr("has the token 255"));
}

TEST_F(LoadDataTest, images_must_be_as_large_as_those_of_the_model) {
    folder_.write("a.bin", std::string(2 * 3073, '\1'));
    const std::vector<std::string> model{
        "model.kind=resnet", "model.size=resnet18", "model.classes=10"};
    const auto with_image = [&](const std::string& data, int image) {
        auto overrides = model;
        overrides.push_back("model.image=" + std::to_string(image));
        return load_data(parse(data, overrides)).train->get(0).at(0).type;
    };
    const std::string cifar10 =
        "kind = 'cifar10'\npath = 'a.bin'\nvalidation_fraction = 0\n";

    EXPECT_EQ(with_image("kind = 'synthetic_images'", 20),
              (TensorType{DType::f32, {3, 20, 20}}));
    EXPECT_EQ(with_image(cifar10, 32), (TensorType{DType::f32, {3, 32, 32}}));
    EXPECT_THAT(message_of<InputError>([&] { with_image(cifar10, 24); }),
                HasSubstr("are f32[3,32,32], but the model takes "
                          "f32[3,24,24]"));
}

}  // namespace
}  // namespace fusionllm::test
