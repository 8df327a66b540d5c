#include "app/load_data.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "data/tiny_vocabulary.hpp"
#include "data/token_window.hpp"
#include "io/hdf5_file.hpp"
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

DatasetSplit load(const RunInput& input) {
    return load_data(input,
                     input.model_kind == "resnet" ? make_resnet(input.resnet, 2)
                                                  : make_gpt2(input.model, 2));
}

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

    EXPECT_EQ(load(parse(bytes, model)).train->size(), 4u);
    EXPECT_EQ(load(parse(gpt2, model)).train->size(), 1u);
    EXPECT_EQ(load_tokenizer(parse(gpt2, model).data)->vocabulary(), 258u);
    EXPECT_EQ(load_tokenizer(parse(bytes, model).data)->vocabulary(), 256u);
    EXPECT_THAT(
        message_of<InputError>(
            [&] { load(parse(gpt2, {"model.vocabulary=257"})); }),
        HasSubstr("vocabulary = 257 in [model] is too small for tokenizer = "
                  "\"gpt2\", which makes 258 different tokens"));
}

TEST_F(LoadDataTest, token_files_are_held_against_the_vocabulary) {
    folder_.write("a.bin", std::string("\x01\x00\x02\x00\xFF\x00", 6));
    const std::string tokens =
        "kind = 'tokens'\npath = 'a.bin'\nvalidation_fraction = 0\n";

    const auto split =
        load(parse(tokens, {"model.context=2", "model.vocabulary=256"}));

    EXPECT_EQ(split.train->size(), 1u);
    EXPECT_THAT(
        message_of<InputError>([&] {
            load(parse(tokens, {"model.context=2", "model.vocabulary=255"}));
        }),
        HasSubstr("has the token 255"));
}

TEST_F(LoadDataTest, tokens_in_hdf5_are_found_by_name) {
    Hdf5File(folder_.path() / "a.h5")
        .add<std::uint16_t>("tokens", H5T_STD_U16LE, {4}, {1, 2, 3, 4});
    Hdf5File(folder_.path() / "b.h5")
        .add<std::uint16_t>("train/ids", H5T_STD_U16LE, {3}, {1, 2, 3});
    const auto size = [&](const std::string& path, const std::string& inputs) {
        return load(parse("kind = 'tokens'\npath = '" + path + "'\n" + inputs,
                          {"model.context=2", "data.validation_fraction=0"}))
            .train->size();
    };

    EXPECT_EQ(size("a.h5", ""), 2u);
    EXPECT_EQ(size("b.h5", "inputs = ['train/ids']"), 1u);
    EXPECT_THAT(message_of<InputError>([&] { size("b.h5", ""); }),
                HasSubstr("has no dataset 'tokens'; it has 'train/ids'"));
}

TEST_F(LoadDataTest, own_tensors_come_in_the_order_of_the_models_inputs) {
    Hdf5File file(folder_.path() / "a.h5");
    file.add<std::int32_t>("x", H5T_STD_I32LE, {2, 2}, {1, 2, 3, 4});
    file.add<std::int64_t>("y", H5T_STD_I64LE, {2, 2}, {2, 3, 4, 5});
    file.add<std::int64_t>("z", H5T_STD_I64LE, {2}, {2, 3});
    const auto load_inputs = [&](const std::string& inputs) {
        return load(
            parse("kind = 'hdf5'\npath = ['a.h5', 'a.h5']\ninputs = " + inputs,
                  {"model.context=2", "data.validation_fraction=0"}));
    };

    const auto split = load_inputs("['x', 'y']");

    ASSERT_EQ(split.train->size(), 4u);
    const auto sample = split.train->get(3);
    EXPECT_EQ(tokens_of(sample.at(0)), (std::vector<std::int64_t>{3, 4}));
    EXPECT_EQ(tokens_of(sample.at(1)), (std::vector<std::int64_t>{4, 5}));
    EXPECT_THAT(message_of<InputError>([&] { load_inputs("['x']"); }),
                HasSubstr("names 1 datasets, but model 'gpt2' has 2 inputs, "
                          "labels included: tokens, labels"));
    EXPECT_THAT(message_of<InputError>([&] { load_inputs("['x', 'z']"); }),
                HasSubstr("is i64[], but the model's input 'labels' takes "
                          "i64[2]"));
}

TEST_F(LoadDataTest, evaluations_want_a_micro_batch_of_samples) {
    Hdf5File(folder_.path() / "a.h5")
        .add<std::int64_t>("x", H5T_STD_I64LE, {5, 1}, {1, 2, 3, 4, 5});
    const auto load_fraction = [&](const std::string& fraction) {
        return load(
            parse("kind = 'hdf5'\npath = 'a.h5'\ninputs = ['x', 'x']\n"
                  "validation_fraction = " +
                      fraction,
                  {"model.context=1", "train.evaluate_every=1"}));
    };

    EXPECT_EQ(load_fraction("0.4").validation->size(), 2u);
    EXPECT_EQ(load_fraction("0").validation, nullptr);
    EXPECT_THAT(
        message_of<InputError>([&] { load_fraction("0.2"); }),
        HasSubstr("validation_fraction = 0.2 in [data] leaves 1 of 5 samples "
                  "for validation, but an evaluation needs 2, a micro-batch"));
    EXPECT_THAT(message_of<InputError>([&] { load_fraction("0.1"); }),
                HasSubstr("leaves 0 of 5 samples"));
}

TEST_F(LoadDataTest, a_model_of_other_inputs_wants_tensors) {
    EXPECT_THAT(message_of<InputError>([&] {
                    load(parse("kind = 'synthetic'",
                               {"model.kind=resnet", "model.size=resnet18"}));
                }),
                HasSubstr("takes other inputs than two of "
                          "i64[samples,tokens]"));
}

TEST_F(LoadDataTest, images_must_be_as_large_as_those_of_the_model) {
    folder_.write("a.bin", std::string(2 * 3073, '\1'));
    const std::vector<std::string> model{
        "model.kind=resnet", "model.size=resnet18", "model.classes=10"};
    const auto with_classes = [&](const std::string& data, int classes) {
        auto overrides = model;
        overrides.push_back("model.classes=" + std::to_string(classes));
        overrides.push_back("model.image=32");
        return load(parse(data, overrides));
    };
    const auto with_image = [&](const std::string& data, int image) {
        auto overrides = model;
        overrides.push_back("model.image=" + std::to_string(image));
        return load(parse(data, overrides)).train->get(0).at(0).type;
    };
    const std::string cifar10 =
        "kind = 'cifar10'\npath = 'a.bin'\nvalidation_fraction = 0\n";

    EXPECT_EQ(with_image("kind = 'synthetic_images'", 20),
              (TensorType{DType::f32, {3, 20, 20}}));
    EXPECT_EQ(with_image(cifar10, 32), (TensorType{DType::f32, {3, 32, 32}}));
    EXPECT_THAT(message_of<InputError>([&] { with_image(cifar10, 24); }),
                HasSubstr("are f32[3,32,32], but the model takes "
                          "f32[3,24,24]"));
    EXPECT_NO_THROW(with_classes(cifar10, 11));
    EXPECT_THAT(message_of<InputError>([&] { with_classes(cifar10, 9); }),
                HasSubstr("the labels of kind = \"cifar10\" in [data] go up to "
                          "9, but model 'resnet18' has 9 classes; set classes "
                          "in [model] to 10 or more"));
    EXPECT_THAT(
        message_of<InputError>([&] { with_classes("kind = 'cifar10'", 10); }),
        HasSubstr("'path' in [data] is missing; name files of images"));
}

TEST_F(LoadDataTest, grey_images_get_the_channels_of_the_model) {
    const std::string sizes(3, '\0');
    std::string pixels;
    for (int i = 0; i < 64; ++i) {
        pixels += static_cast<char>(i);
    }
    folder_.write("images",
                  std::string("\0\0\x08\x03", 4) + sizes + '\1' + sizes +
                      '\x8' + sizes + '\x8' + pixels);
    folder_.write("labels", std::string("\0\0\x08\x01", 4) + sizes + "\1\4");

    const auto split = load(parse(
        "kind = 'idx'\npath = ['images', 'labels']\nvalidation_fraction = 0\n"
        "mean = 0.5\n",
        {"model.kind=resnet",
         "model.size=resnet18",
         "model.image=8",
         "model.stem=cifar",
         "model.classes=5"}));

    const HostTensor image = split.train->get_in_epoch(0, 0).at(0);
    ASSERT_EQ(image.type, (TensorType{DType::f32, {3, 8, 8}}));
    const std::size_t channel = image.bytes.size() / 3;
    for (std::size_t i = 0; i < channel; ++i) {
        EXPECT_EQ(image.bytes[i], image.bytes[channel + i]);
        EXPECT_EQ(image.bytes[i], image.bytes[2 * channel + i]);
    }
}

TEST_F(LoadDataTest, labels_of_idx_files_must_be_classes_of_the_model) {
    const std::string sizes(3, '\0');
    folder_.write("images",
                  std::string("\0\0\x08\x04", 4) + sizes + '\2' + sizes + '\3' +
                      sizes + '\x8' + sizes + '\x8' +
                      std::string(2 * 3 * 8 * 8, '\1'));
    folder_.write("labels", std::string("\0\0\x08\x01", 4) + sizes + "\2\6\4");
    const std::string data =
        "kind = 'idx'\npath = ['images', 'labels']\nvalidation_fraction = 0\n";
    const auto with_classes = [&](const std::string& classes) {
        return load(parse(data,
                          {"model.kind=resnet",
                           "model.size=resnet18",
                           "model.image=8",
                           "model.stem=cifar",
                           "model.classes=" + classes}));
    };

    EXPECT_EQ(with_classes("7").classes, 7);
    EXPECT_THAT(message_of<InputError>([&] { with_classes("6"); }),
                HasSubstr("go up to 6, but model 'resnet18' has 6 classes"));
}

}  // namespace
}  // namespace fusionllm::test
