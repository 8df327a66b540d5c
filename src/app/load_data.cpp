#include "app/load_data.hpp"

#include "fusionllm/data/images.hpp"
#include "fusionllm/data/token_files.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

DatasetSplit load_text(const RunInput& input) {
    const DataSection& data = input.data;
    const auto context = static_cast<std::size_t>(input.model.context);
    if (data.tokenizer == "bytes") {
        return make_text_dataset(data.path, context, data.validation_fraction);
    }
    const auto tokenizer = load_tokenizer(data);
    FUSIONLLM_VALIDATE(
        static_cast<std::size_t>(input.model.vocabulary) >=
            tokenizer->vocabulary(),
        "vocabulary = {} in [model] is too small for tokenizer = \"{}\", which "
        "makes {} different tokens of '{}'; set it to {} or more",
        input.model.vocabulary,
        data.tokenizer,
        tokenizer->vocabulary(),
        data.vocabulary_file.string(),
        tokenizer->vocabulary());
    return make_text_dataset(
        data.path, *tokenizer, context, data.validation_fraction);
}

DatasetSplit read_images(const RunInput& input) {
    const DataSection& data = input.data;
    const auto seed = static_cast<std::uint64_t>(input.run.seed);
    const ResnetOptions& model = input.resnet;
    if (data.kind == "synthetic_images") {
        return make_synthetic_image_dataset(
            seed,
            {model.classes, 3, model.image, model.image},
            data.images,
            data.validation_fraction);
    }
    return data.kind == "cifar10"
               ? make_cifar10_dataset(
                     data.path, seed, data.images, data.validation_fraction)
               : make_idx_dataset(
                     data.path, seed, data.images, data.validation_fraction);
}

DatasetSplit load_images(const RunInput& input) {
    DatasetSplit split = read_images(input);
    const std::int64_t side = input.resnet.image;
    const TensorType wanted{DType::f32, {3, side, side}};
    const TensorType given = split.train->get(0).at(0).type;
    FUSIONLLM_VALIDATE(given == wanted,
                       "the images of kind = \"{}\" in [data] are {}, but the "
                       "model takes {}; set image in [model] to their height "
                       "and width, and give square ones of 3 channels",
                       input.data.kind,
                       to_text(given),
                       to_text(wanted));
    return split;
}

}  // namespace

std::shared_ptr<const Tokenizer> load_tokenizer(const DataSection& data) {
    return data.tokenizer == "gpt2"
               ? make_gpt2_tokenizer(data.vocabulary_file, data.merges_file)
               : make_byte_tokenizer();
}

DatasetSplit load_data(const RunInput& input) {
    const DataSection& data = input.data;
    const auto seed = static_cast<std::uint64_t>(input.run.seed);
    const auto context = static_cast<std::size_t>(input.model.context);
    const auto vocabulary = static_cast<std::size_t>(input.model.vocabulary);
    if (data.kind == "synthetic") {
        return make_synthetic_dataset(
            seed, context, vocabulary, data.validation_fraction);
    }
    if (data.kind == "k_hop") {
        return make_k_hop_dataset(
            seed, context, data.k_hop, data.validation_fraction);
    }
    if (data.kind == "tokens") {
        return make_tokens_dataset(
            data.path, context, vocabulary, data.validation_fraction);
    }
    if (data.kind == "text") {
        return load_text(input);
    }
    return load_images(input);
}

}  // namespace fusionllm
