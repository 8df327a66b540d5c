#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "fusionllm/data/images.hpp"
#include "fusionllm/data/k_hop.hpp"
#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/graph/resnet.hpp"
#include "fusionllm/io/trace.hpp"
#include "fusionllm/plan/compression.hpp"
#include "fusionllm/runtime/train_options.hpp"
#include "fusionllm/topology/topology_spec.hpp"

namespace fusionllm {

//! [run]
struct RunSection {
    std::string name = "run";
    std::int64_t seed = 1;
    //! Absolute once resolved; empty: "out-NAME" beside the input file.
    std::filesystem::path output;
    std::int64_t threads = 1;        //!< a rank: ATen, OpenMP and BLAS
    std::string device = "cpu";      //!< "cpu" or "cuda"
    std::string long_wait = "30 s";  //!< said why from here on; 0 s: never

    friend bool operator==(const RunSection&, const RunSection&) = default;
};

//! [model], what is read from files.
struct ModelFileSection {
    std::filesystem::path path;  //!< of kinds that are a file
    //! Of kinds that are a file: "graph", "cross_entropy" or "mse".
    std::string loss = "graph";
    //! First values by name (safetensors); empty: the model's own.
    std::filesystem::path weights;

    friend bool operator==(const ModelFileSection&,
                           const ModelFileSection&) = default;
};

//! [data]
struct DataSection {
    //! "text", "tokens", "synthetic" or "k_hop"; of images "cifar10", "idx",
    //! "image_folder" or "synthetic_images"; own tensors "hdf5"
    std::string kind = "text";
    std::vector<std::filesystem::path> path;
    //! Datasets of an HDF5 file in the order of the model's inputs.
    std::vector<std::string> inputs;
    std::string tokenizer = "bytes";           //!< or "gpt2", "sentencepiece"
    std::filesystem::path vocabulary_file;     //!< of tokenizer "gpt2"
    std::filesystem::path merges_file;         //!< of tokenizer "gpt2"
    std::filesystem::path sentencepiece_file;  //!< of that tokenizer
    double validation_fraction = 0.1;
    bool shuffle = true;
    KHopOptions k_hop;    //!< of kind "k_hop"
    ImageOptions images;  //!< of kinds of images

    friend bool operator==(const DataSection&, const DataSection&) = default;
};

//! [topology]
struct TopologySection {
    //! Empty once resolved: what the file says is then in `spec`.
    std::filesystem::path file;
    TopologySpec spec;            //!< no sites: one site of all ranks
    std::string match = "order";  //!< "order" or "host"
    bool probe = false;           //!< measure the links before planning

    friend bool operator==(const TopologySection&,
                           const TopologySection&) = default;
};

//! [plan]
struct PlanSection {
    std::string partition = "op_fence";
    std::string device_order = "given";  //!< or "random"
    std::filesystem::path file;          //!< empty: make one

    friend bool operator==(const PlanSection&, const PlanSection&) = default;
};

//! [compression]
struct CompressionSection {
    CompressionOptions options;
    //! Steps between new bases of subspace codecs.
    std::int64_t basis_every = 10;
    //! Steps between measurements of what fences do; 0 = never.
    std::int64_t measure_every = 50;
    //! Whether evaluations go through the codecs: "on", "off" or "both".
    std::string evaluate = "on";
    //! A plan whose fences are taken, whatever the stages; empty: the rule's.
    std::filesystem::path fences;
    //! Of rule "cut": the op or block after which the model starts again.
    std::string cut_after;
    std::string restart = "embedding";  //!< or "zeros"

    friend bool operator==(const CompressionSection&,
                           const CompressionSection&) = default;
};

//! [network]
struct NetworkSection {
    std::string mode = "none";         //!< or "emulated" or "shaped"
    std::string compute = "real";      //!< or "paced" or "waits"
    double time_scale = 1;             //!< of all times of the testbed
    std::string jitter = "0 s";        //!< of shaped links
    std::vector<std::string> changes;  //!< of their lines

    friend bool operator==(const NetworkSection&,
                           const NetworkSection&) = default;
};

//! A whole input file: every key with its default.
struct RunInput {
    RunSection run;
    std::string model_kind = "gpt2";
    //! "gpt2-xl", "resnet101"; empty: no published one. Once resolved, what it
    //! says is in `model` or `resnet` too.
    std::string model_size;
    Gpt2Options model;     //!< of kind "gpt2"
    ResnetOptions resnet;  //!< of kind "resnet"
    ModelFileSection model_file;
    DataSection data;
    TrainOptions train;  //!< [train] and [checkpoint]; seed, output from [run]
    std::int64_t micro_batches = 4;  //!< train.micro_batches; 0: choose
    std::string schedule = "1f1b";   //!< train.schedule
    std::string recompute = "off";   //!< train.recompute
    TopologySection topology;
    PlanSection plan;
    //! Its rule is "none" without a section, "adaptive" in one that names none.
    CompressionSection compression;
    NetworkSection network;
    TraceOptions trace;

    friend bool operator==(const RunInput&, const RunInput&) = default;
};

//! Whether a model of this kind is read from `ModelFileSection::path`.
bool is_model_file(const std::string& kind);

/*!
 * Read an input file; `overrides` are "section.key=value" from --set, in TOML
 * syntax (a bare word is a string). Relative paths are relative to the file.
 * Checked: keys, types, units, ranges, files that must exist. Throws
 * `InputError` with file, line, what is wrong and the nearest right spelling.
 */
RunInput load_run_input(const std::filesystem::path& file,
                        const std::vector<std::string>& overrides);

/*!
 * The same from a text, e.g. the one stored in a checkpoint; but that data
 * and plan files exist is not checked: they may have been elsewhere.
 */
RunInput parse_run_input(const std::string& text,
                         const std::filesystem::path& file,
                         const std::vector<std::string>& overrides);

//! Every key with its value as TOML, with a comment a key; it parses back to
//! an equal value if the paths are absolute, as those of a loaded input are.
std::string to_toml(const RunInput& input);

}  // namespace fusionllm
