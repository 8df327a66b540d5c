#include "app/load_data.hpp"

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
    return load_text(input);
}

}  // namespace fusionllm
