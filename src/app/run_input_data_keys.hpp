#pragma once

#include "app/run_input.hpp"
#include "app/run_input_rules.hpp"

namespace fusionllm::detail {

// The keys of [data], for run_input_keys.hpp.

template <class Input, class Visitor>
void visit_data(Input& input, Visitor& visitor) {
    auto& data = input.data;
    visitor.section("data", "What it is trained on.");
    visitor.key("kind",
                data.kind,
                Choices{{"text",
                         "tokens",
                         "synthetic",
                         "k_hop",
                         "cifar10",
                         "idx",
                         "image_folder",
                         "synthetic_images",
                         "hdf5"}},
                "\"text\" or \"tokens\" in files, or made up: \"synthetic\" "
                "or \"k_hop\"; images: \"cifar10\", \"idx\", "
                "\"image_folder\", made up: "
                "\"synthetic_images\"; own tensors: \"hdf5\".");
    visitor.key("path",
                data.path,
                Any{},
                "Files (of text folders, too), relative to this file.");
    visitor.key("inputs",
                data.inputs,
                Any{},
                "Of HDF5: datasets in the order of the model's inputs.");
    visitor.key("tokenizer",
                data.tokenizer,
                Choices{{"bytes", "gpt2", "sentencepiece"}},
                "How text becomes tokens: \"bytes\", \"gpt2\" or "
                "\"sentencepiece\".");
    visitor.key("vocabulary_file",
                data.vocabulary_file,
                Any{},
                "Of tokenizer gpt2: its encoder.json.");
    visitor.key("merges_file",
                data.merges_file,
                Any{},
                "Of tokenizer gpt2: its vocab.bpe.");
    visitor.key("sentencepiece_file",
                data.sentencepiece_file,
                Any{},
                "Of tokenizer sentencepiece: its .model.");
    visitor.key("validation_fraction",
                data.validation_fraction,
                below_one,
                "Share of the data that is kept for evaluation.");
    visitor.key("shuffle",
                data.shuffle,
                Any{},
                "Samples in random order, by the seed alone.");
    visitor.key("symbols",
                data.k_hop.symbols,
                IntegerRange{3, 4096},
                "Of k_hop: symbols that its pairs join to one cycle.");
    visitor.key("hops",
                data.k_hop.hops,
                IntegerRange{1, 4095},
                "Of k_hop: most hops of a question; about a layer each.");
    visitor.key("label_noise",
                data.k_hop.label_noise,
                below_one,
                "Of k_hop: share of the answers that are any symbol instead.");
    visitor.key("crop_padding",
                data.images.crop_padding,
                IntegerRange{0, 1024},
                "Of images: zeros around them before a random crop.");
    visitor.key("flip",
                data.images.is_flipped,
                Any{},
                "Of images: mirrored at random.");
    visitor.key("mean",
                data.images.mean,
                Any{},
                "Of images: what is taken off a pixel (0 to 1), by channel.");
    visitor.key("deviation",
                data.images.deviation,
                Any{},
                "Of images: what it is then divided by; [] = 1.");
}

}  // namespace fusionllm::detail
