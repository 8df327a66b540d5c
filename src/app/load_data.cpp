#include "app/load_data.hpp"

#include <algorithm>
#include <limits>
#include <optional>

#include "fusionllm/data/images.hpp"
#include "fusionllm/data/tensors.hpp"
#include "fusionllm/data/token_files.hpp"
#include "fusionllm/io/hdf5_rows.hpp"
#include "fusionllm/util/error.hpp"

#include "app/model.hpp"

namespace fusionllm {
namespace {

//! The model's input without its first axis, the samples.
TensorType sample_type(const OpGraph& graph, ValueId input) {
    TensorType type = graph.value(input).type;
    FUSIONLLM_VALIDATE(!type.sizes.empty(),
                       "the input '{}' of model '{}' is one number, so it has "
                       "no axis of samples",
                       graph.value(input).name,
                       graph.name());
    type.sizes.erase(type.sizes.begin());
    return type;
}

//! Tokens a sample, of a model whose inputs are tokens and labels.
std::size_t context_of(const OpGraph& graph, const std::string& kind) {
    const auto& inputs = graph.signature().inputs;
    const auto is_of_tokens = [&](ValueId input) {
        const TensorType type = sample_type(graph, input);
        return type.dtype == DType::i64 && type.sizes.size() == 1 &&
               type == sample_type(graph, inputs[0]);
    };
    FUSIONLLM_VALIDATE(
        inputs.size() == 2 && std::ranges::all_of(inputs, is_of_tokens),
        "kind = \"{}\" in [data] gives tokens and labels, but model '{}' takes "
        "other inputs than two of i64[samples,tokens]; set kind = \"hdf5\" and "
        "give its inputs as tensors",
        kind,
        graph.name());
    return static_cast<std::size_t>(
        sample_type(graph, inputs[0]).sizes.front());
}

//! Tokens are below it: rows of the table that they are looked up in.
std::size_t vocabulary_of(const OpGraph& graph) {
    const ValueId tokens = graph.signature().inputs.at(0);
    for (const Op& op : graph.ops()) {
        if (op.target == "aten::embedding" && op.arguments.size() > 1 &&
            op.arguments[1] == Argument(tokens)) {
            const auto table = std::get<ValueId>(op.arguments[0]);
            return static_cast<std::size_t>(
                graph.value(table).type.sizes.at(0));
        }
    }
    return std::numeric_limits<std::uint32_t>::max();
}

DatasetSplit load_text(const RunInput& input, const OpGraph& graph) {
    const DataSection& data = input.data;
    const std::size_t context = context_of(graph, data.kind);
    const auto tokenizer = load_tokenizer(data);
    FUSIONLLM_VALIDATE(
        vocabulary_of(graph) >= tokenizer->vocabulary(),
        "vocabulary = {} in [model] is too small for tokenizer = \"{}\", "
        "which makes {} different tokens{}; set it to {} or more",
        vocabulary_of(graph),
        data.tokenizer,
        tokenizer->vocabulary(),
        data.tokenizer == "bytes"
            ? ""
            : fmt::format(" of '{}'",
                          data.tokenizer == "gpt2"
                              ? data.vocabulary_file.string()
                              : data.sentencepiece_file.string()),
        tokenizer->vocabulary());
    return data.tokenizer == "bytes"
               ? make_text_dataset(data.path, context, data.validation_fraction)
               : make_text_dataset(
                     data.path, *tokenizer, context, data.validation_fraction);
}

DatasetSplit load_tokens(const DataSection& data, const OpGraph& graph) {
    FUSIONLLM_VALIDATE(data.inputs.size() <= 1,
                       "'inputs' in [data] names {} datasets, but the tokens "
                       "are in one; name that",
                       data.inputs.size());
    const std::string name = data.inputs.empty() ? "tokens" : data.inputs[0];
    std::vector<TokenSource> sources;
    for (const auto& path : data.path) {
        if (is_hdf5_file(path)) {
            sources.emplace_back(open_hdf5_rows(path, name, DType::i64));
        } else {
            sources.emplace_back(path);
        }
    }
    return make_tokens_dataset(sources,
                               context_of(graph, data.kind),
                               vocabulary_of(graph),
                               data.validation_fraction);
}

StoredRows open_tensor(const DataSection& data,
                       const std::string& name,
                       const std::string& input,
                       const TensorType& wanted) {
    std::vector<StoredRows> parts;
    for (const auto& path : data.path) {
        parts.push_back(open_hdf5_rows(path, name, wanted.dtype));
        const TensorType given = parts.back().row_type();
        FUSIONLLM_VALIDATE(given == wanted,
                           "a sample of {} is {}, but the model's input '{}' "
                           "takes {}; 'inputs' in [data] must be in the order "
                           "of the model's inputs",
                           parts.back().name,
                           to_text(given),
                           input,
                           to_text(wanted));
    }
    return join_rows(std::move(parts));
}

DatasetSplit load_tensors(const DataSection& data, const OpGraph& graph) {
    std::vector<std::string> names;
    for (const ValueId input : graph.signature().inputs) {
        names.push_back(graph.value(input).name);
    }
    FUSIONLLM_VALIDATE(data.inputs.size() == names.size(),
                       "'inputs' in [data] names {} datasets, but model '{}' "
                       "has {} inputs, labels included: {}; name a dataset of "
                       "the HDF5 file for each",
                       data.inputs.size(),
                       graph.name(),
                       names.size(),
                       fmt::join(names, ", "));
    std::vector<StoredRows> tensors;
    for (std::size_t i = 0; i < names.size(); ++i) {
        tensors.push_back(
            open_tensor(data,
                        data.inputs[i],
                        names[i],
                        sample_type(graph, graph.signature().inputs[i])));
    }
    return make_tensor_dataset(std::move(tensors), data.validation_fraction);
}

//! Of the model's output, (samples, classes); nothing if it has another form.
std::optional<std::int64_t> classes_of(const OpGraph& graph) {
    const auto& output = graph.signature().output;
    if (!output || graph.value(*output).type.sizes.size() != 2) {
        return std::nullopt;
    }
    return graph.value(*output).type.sizes[1];
}

DatasetSplit read_images(const RunInput& input,
                         const TensorType& wanted,
                         std::int64_t classes) {
    const DataSection& data = input.data;
    FUSIONLLM_VALIDATE(
        data.kind == "synthetic_images" || !data.path.empty(),
        "'path' in [data] is missing; name files of images for kind = \"{}\", "
        "or set kind = \"synthetic_images\"",
        data.kind);
    const auto seed = static_cast<std::uint64_t>(input.run.seed);
    const double fraction = data.validation_fraction;
    const ImageShape shape{
        classes, wanted.sizes[0], wanted.sizes[1], wanted.sizes[2]};
    if (data.kind == "synthetic_images") {
        return make_synthetic_image_dataset(seed, shape, data.images, fraction);
    }
    if (data.kind == "image_folder") {
        return make_image_folder_dataset(
            data.path, seed, shape, data.images, fraction);
    }
    return data.kind == "cifar10"
               ? make_cifar10_dataset(data.path, seed, data.images, fraction)
               : make_idx_dataset(data.path, seed, data.images, fraction);
}

DatasetSplit load_images(const RunInput& input, const OpGraph& graph) {
    const auto& inputs = graph.signature().inputs;
    const bool is_of_images =
        inputs.size() == 2 && sample_type(graph, inputs[0]).sizes.size() == 3 &&
        sample_type(graph, inputs[0]).dtype == DType::f32 &&
        sample_type(graph, inputs[1]) == TensorType{DType::i64, {}};
    FUSIONLLM_VALIDATE(is_of_images,
                       "kind = \"{}\" in [data] gives images and labels, but "
                       "model '{}' takes other inputs than "
                       "f32[samples,channels,height,width] and i64[samples]; "
                       "set kind = \"hdf5\" and give its inputs as tensors",
                       input.data.kind,
                       graph.name());
    const TensorType wanted = sample_type(graph, inputs[0]);
    const auto classes = classes_of(graph);
    DatasetSplit split =
        read_images(input, wanted, classes.value_or(input.resnet.classes));
    if (split.train->get(0).at(0).type.sizes[0] == 1 && wanted.sizes[0] > 1) {
        split = repeat_channels(std::move(split), wanted.sizes[0]);
    }
    const TensorType given = split.train->get(0).at(0).type;
    FUSIONLLM_VALIDATE(given == wanted,
                       "the images of kind = \"{}\" in [data] are {}, but the "
                       "model takes {}; set image in [model] to their height "
                       "and width, and give square ones of 3 channels, or of 1",
                       input.data.kind,
                       to_text(given),
                       to_text(wanted));
    FUSIONLLM_VALIDATE(!classes || split.classes <= *classes,
                       "the labels of kind = \"{}\" in [data] go up to {}, but "
                       "model '{}' has {} classes; set classes in [model] to "
                       "{} or more",
                       input.data.kind,
                       split.classes - 1,
                       graph.name(),
                       *classes,
                       split.classes);
    return split;
}

DatasetSplit load_kind(const RunInput& input, const OpGraph& graph) {
    const DataSection& data = input.data;
    const auto seed = static_cast<std::uint64_t>(input.run.seed);
    if (data.kind == "synthetic") {
        return make_synthetic_dataset(seed,
                                      context_of(graph, data.kind),
                                      vocabulary_of(graph),
                                      data.validation_fraction);
    }
    if (data.kind == "k_hop") {
        return make_k_hop_dataset(seed,
                                  context_of(graph, data.kind),
                                  data.k_hop,
                                  data.validation_fraction);
    }
    if (data.kind == "tokens") {
        return load_tokens(data, graph);
    }
    if (data.kind == "text") {
        return load_text(input, graph);
    }
    if (data.kind == "hdf5") {
        return load_tensors(data, graph);
    }
    return load_images(input, graph);
}

//! Evaluations are by whole micro-batches.
void check_validation(const RunInput& input,
                      const OpGraph& graph,
                      const DatasetSplit& split) {
    const bool is_wanted =
        input.train.evaluate_every > 0 && input.data.validation_fraction > 0;
    const auto micro_batch = static_cast<std::size_t>(micro_batch_of(graph));
    const std::size_t held_out =
        split.validation ? split.validation->size() : 0;
    FUSIONLLM_VALIDATE(
        !is_wanted || held_out >= micro_batch,
        "validation_fraction = {} in [data] leaves {} of {} samples for "
        "validation, but an evaluation needs {}, a micro-batch; give more "
        "data or a larger fraction, or set evaluate_every = 0 in [train]",
        input.data.validation_fraction,
        held_out,
        held_out + split.train->size(),
        micro_batch);
}

}  // namespace

std::shared_ptr<const Tokenizer> load_tokenizer(const DataSection& data) {
    if (data.tokenizer == "sentencepiece") {
        return make_sentencepiece_tokenizer(data.sentencepiece_file);
    }
    return data.tokenizer == "gpt2"
               ? make_gpt2_tokenizer(data.vocabulary_file, data.merges_file)
               : make_byte_tokenizer();
}

DatasetSplit load_data(const RunInput& input, const OpGraph& graph) {
    DatasetSplit split = load_kind(input, graph);
    check_validation(input, graph, split);
    return split;
}

}  // namespace fusionllm
