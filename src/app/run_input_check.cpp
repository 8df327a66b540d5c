#include "app/run_input_check.hpp"

#include <algorithm>
#include <span>

#include <fmt/ranges.h>

#include "fusionllm/runtime/named_change.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/units.hpp"

namespace fusionllm::detail {
namespace {

//! "the nearest that works is 32": multiples around a wrong number.
std::string nearest_multiples(std::int64_t number, std::int64_t divisor) {
    const std::int64_t below = number / divisor * divisor;
    const std::int64_t above = below + divisor;
    if (below > 0 && number - below == above - number) {
        return fmt::format("the nearest that work are {} and {}", below, above);
    }
    const bool is_below = below > 0 && number - below < above - number;
    return fmt::format("the nearest that works is {}",
                       is_below ? below : above);
}

void check_time(const std::string& section,
                const std::string& key,
                const std::string& time,
                const FindPlace& place) {
    try {
        parse_seconds(time);
    } catch (const InputError& error) {
        throw InputError(fmt::format("{}: '{}' in [{}]: {}",
                                     place(section, key),
                                     key,
                                     section,
                                     error.what()));
    }
}

void check_run(const RunSection& run, const FindPlace& place) {
    check_time("run", "long_wait", run.long_wait, place);
    FUSIONLLM_VALIDATE(
        !run.name.empty() && run.name.find('/') == std::string::npos,
        "{}: 'name' in [run] must be a word without '/', not \"{}\": it is "
        "part of a folder's name",
        place("run", "name"),
        run.name);
}

//! Keys of the other kind must be as they were.
template <class Options>
void check_unused(const RunInput& input,
                  const Options& options,
                  std::span<const std::string_view> keys,
                  const FindPlace& place) {
    if (options == Options()) {
        return;
    }
    const std::string nowhere = place("model", "");
    for (const std::string_view key : keys) {
        FUSIONLLM_VALIDATE(place("model", key) == nowhere,
                           "{}: '{}' in [model] has no effect with kind = "
                           "\"{}\"; leave it out",
                           place("model", key),
                           key,
                           input.model_kind);
    }
}

constexpr std::string_view gpt2_keys[] = {"layers",
                                          "width",
                                          "heads",
                                          "context",
                                          "vocabulary",
                                          "dropout",
                                          "tie_embeddings"};
constexpr std::string_view resnet_keys[] = {
    "classes", "image", "stem", "channels"};

void check_resnet(const RunInput& input, const FindPlace& place) {
    FUSIONLLM_VALIDATE(!input.model_size.empty(),
                       "{}: 'size' in [model] is missing for kind = "
                       "\"resnet\"; give one of {}",
                       place("model", "size"),
                       fmt::join(resnet_sizes(), ", "));
    check_unused(input, input.model, gpt2_keys, place);
}

void check_model_file(const RunInput& input, const FindPlace& place) {
    FUSIONLLM_VALIDATE(!input.model_file.path.empty(),
                       "{}: 'path' in [model] is missing for kind = \"{}\"; "
                       "name the file of the model",
                       place("model", "path"),
                       input.model_kind);
    FUSIONLLM_VALIDATE(input.model_size.empty(),
                       "{}: 'size' in [model] has no effect with kind = "
                       "\"{}\"; leave it out",
                       place("model", "size"),
                       input.model_kind);
    check_unused(input, input.model, gpt2_keys, place);
    check_unused(input, input.resnet, resnet_keys, place);
}

void check_gpt2(const RunInput& input, const FindPlace& place) {
    check_unused(input, input.resnet, resnet_keys, place);
    const Gpt2Options& model = input.model;
    FUSIONLLM_VALIDATE(
        model.width % model.heads == 0,
        "{}: width = {} in [model] is not divisible by heads = {}; {}",
        place("model", "width"),
        model.width,
        model.heads,
        nearest_multiples(model.width, model.heads));
    FUSIONLLM_VALIDATE(
        input.data.kind != "text" || input.data.tokenizer != "bytes" ||
            model.vocabulary >= 256,
        "{}: vocabulary = {} in [model] is too small for tokenizer = "
        "\"bytes\", which makes 256 different tokens; set it to 256 or more",
        place("model", "vocabulary"),
        model.vocabulary);
}

void check_model(const RunInput& input, const FindPlace& place) {
    if (is_model_file(input.model_kind)) {
        check_model_file(input, place);
        return;
    }
    ModelFileSection unused;
    unused.weights = input.model_file.weights;
    if (!(input.model_file == unused)) {
        for (const char* key : {"path", "loss"}) {
            FUSIONLLM_VALIDATE(place("model", key) == place("model", ""),
                               "{}: '{}' in [model] has no effect with kind = "
                               "\"{}\"; leave it out",
                               place("model", key),
                               key,
                               input.model_kind);
        }
    }
    if (input.model_kind == "resnet") {
        check_resnet(input, place);
    } else {
        check_gpt2(input, place);
    }
}

//! The same as make_k_hop_dataset, before anything is made, with the places.
void check_k_hop(const RunInput& input, const FindPlace& place) {
    const std::int64_t symbols = input.data.k_hop.symbols;
    const std::int64_t hops = input.data.k_hop.hops;
    FUSIONLLM_VALIDATE(
        hops < symbols,
        "{}: hops = {} in [data] is too many for symbols = {}: so many lead "
        "back to the start; give at most {}, or more symbols",
        place("data", "hops"),
        hops,
        symbols,
        symbols - 1);
    const std::int64_t needed = k_hop_vocabulary(input.data.k_hop);
    FUSIONLLM_VALIDATE(
        input.model.vocabulary >= needed,
        "{}: vocabulary = {} in [model] is too small for kind = \"k_hop\", "
        "which makes {} different tokens of {} symbols and {} hops; set it to "
        "{} or more",
        place("model", "vocabulary"),
        input.model.vocabulary,
        needed,
        symbols,
        hops,
        needed);
    FUSIONLLM_VALIDATE(
        input.model.context > symbols,
        "{}: context = {} in [model] is too short for kind = \"k_hop\", whose "
        "{} pairs come before the questions; set it to {} or more",
        place("model", "context"),
        input.model.context,
        symbols,
        2 * symbols);
}

bool is_of_images(const DataSection& data) {
    return data.kind == "cifar10" || data.kind == "idx" ||
           data.kind == "image_folder" || data.kind == "synthetic_images";
}

bool reads_files(const DataSection& data) {
    return data.kind == "text" || data.kind == "tokens" ||
           data.kind == "cifar10" || data.kind == "idx" || data.kind == "hdf5";
}

//! The files of a tokenizer are given where it needs them.
void check_tokenizer(const DataSection& data, const FindPlace& place) {
    const auto check = [&](const char* tokenizer,
                           const char* key,
                           const std::filesystem::path& file,
                           const char* example) {
        FUSIONLLM_VALIDATE(data.tokenizer != tokenizer || !file.empty(),
                           "{}: '{}' in [data] is missing for tokenizer = "
                           "\"{}\"; name its {}",
                           place("data", key),
                           key,
                           tokenizer,
                           example);
    };
    check("gpt2", "vocabulary_file", data.vocabulary_file, "encoder.json");
    check("gpt2", "merges_file", data.merges_file, "vocab.bpe");
    check("sentencepiece",
          "sentencepiece_file",
          data.sentencepiece_file,
          ".model");
}

void check_data(const RunInput& input, const FindPlace& place) {
    const DataSection& data = input.data;
    FUSIONLLM_VALIDATE(
        input.model_kind != "gpt2" || !is_of_images(data),
        "{}: kind = \"{}\" in [data] gives images, but kind = \"{}\" in "
        "[model] takes tokens; choose \"text\", or a model of images",
        place("data", "kind"),
        data.kind,
        input.model_kind);
    FUSIONLLM_VALIDATE(
        input.model_kind != "gpt2" || !reads_files(data) || !data.path.empty(),
        "{}: 'path' in [data] is missing; name {}, or set kind = "
        "\"synthetic\"",
        place("data", "path"),
        data.kind == "text"   ? "text files or folders"
        : data.kind == "hdf5" ? "HDF5 files of samples"
                              : "files of tokens");
    FUSIONLLM_VALIDATE(
        data.kind != "hdf5" || !data.inputs.empty(),
        "{}: 'inputs' in [data] is missing for kind = \"hdf5\"; name the "
        "datasets in the order of the model's inputs, labels included",
        place("data", "inputs"));
    FUSIONLLM_VALIDATE(
        data.kind == "hdf5" || data.kind == "tokens" || data.inputs.empty(),
        "{}: 'inputs' in [data] has no effect with kind = \"{}\"; leave it "
        "out",
        place("data", "inputs"),
        data.kind);
    check_tokenizer(data, place);
    if (input.model_kind == "gpt2" && data.kind == "k_hop") {
        check_k_hop(input, place);
    }
}

void check_train(const RunInput& input, const FindPlace& place) {
    const TrainOptions& train = input.train;
    FUSIONLLM_VALIDATE(
        input.micro_batches == 0 || train.batch % input.micro_batches == 0,
        "{}: batch = {} in [train] is not divisible by micro_batches = {}; {}",
        place("train", "batch"),
        train.batch,
        input.micro_batches,
        nearest_multiples(train.batch, input.micro_batches));
    FUSIONLLM_VALIDATE(
        train.optimizer.kind == "sgd" || train.optimizer.momentum == 0,
        "{}: momentum = {} in [train] is for optimizer = \"sgd\", but it is "
        "\"{}\"; set momentum = 0 (see beta1)",
        place("train", "momentum"),
        train.optimizer.momentum,
        train.optimizer.kind);
    const LearningRate& rate = train.learning_rate;
    FUSIONLLM_VALIDATE(
        rate.schedule == "cosine" || rate.decay_steps == 0,
        "{}: decay_steps = {} in [train] has no effect with "
        "learning_rate_schedule = \"constant\"; set that to \"cosine\"",
        place("train", "decay_steps"),
        rate.decay_steps);
    FUSIONLLM_VALIDATE(
        rate.decay_steps == 0 || rate.decay_steps > rate.warmup_steps,
        "{}: decay_steps = {} in [train] must be more than warmup_steps = {}: "
        "the cosine ends at that step",
        place("train", "decay_steps"),
        rate.decay_steps,
        rate.warmup_steps);
}

void check_compression(const RunInput& input, const FindPlace& place) {
    const OptionProblem problem = find_problem(input.compression.options);
    FUSIONLLM_VALIDATE(problem.text.empty(),
                       "{}: '{}' in [compression]: {}",
                       place("compression", problem.key),
                       problem.key,
                       problem.text);
    FUSIONLLM_VALIDATE(
        input.compression.options.rule != "cut" ||
            !input.compression.cut_after.empty(),
        "{}: 'cut_after' in [compression] is missing for rule = \"cut\"; "
        "name the block or op before the cut, such as \"h.1\"",
        place("compression", "cut_after"));
}

//! Each is one of lines that there are.
void check_changes(const RunInput& input, const FindPlace& place) {
    if (input.network.changes.empty()) {
        return;
    }
    TopologySpec spec = input.topology.spec;
    if (spec.sites.empty()) {
        spec = {};
        spec.sites = {{"local", 1}};
    }
    const Network network(make_topology(spec));
    try {
        for (const std::string& change : input.network.changes) {
            find_lines(network, parse_named_change(change));
        }
    } catch (const InputError& error) {
        throw InputError(
            fmt::format("{}: {}", place("network", "changes"), error.what()));
    }
}

//! What only links that are played have.
void check_shaped_keys(const RunInput& input, const FindPlace& place) {
    const NetworkSection& network = input.network;
    check_time("network", "jitter", network.jitter, place);
    const auto check = [&](bool is_default, const char* key) {
        FUSIONLLM_VALIDATE(network.mode == "shaped" || is_default,
                           "{}: '{}' in [network] has no effect with mode = "
                           "\"{}\"; set that to \"shaped\", or leave it out",
                           place("network", key),
                           key,
                           network.mode);
    };
    check(parse_seconds(network.jitter) == 0, "jitter");
    check(network.changes.empty(), "changes");
    check_changes(input, place);
}

//! What needs numbers cannot go with waits.
void check_network(const RunInput& input, const FindPlace& place) {
    check_shaped_keys(input, place);
    FUSIONLLM_VALIDATE(
        !input.topology.probe || input.network.mode == "none",
        "{}: probe = true in [topology] measures real links, but mode = "
        "\"{}\" in [network] plays those of [topology]; set one of them "
        "otherwise (`fusionllm probe` measures shaped links, too)",
        place("topology", "probe"),
        input.network.mode);
    if (input.network.compute != "waits") {
        return;
    }
    const CompressionOptions& options = input.compression.options;
    FUSIONLLM_VALIDATE(options.adapt == "off",
                       "{}: adapt = \"{}\" in [compression] follows what is "
                       "computed, but compute = \"waits\" in [network] "
                       "computes nothing; set one of them otherwise",
                       place("compression", "adapt"),
                       options.adapt);
    FUSIONLLM_VALIDATE(input.trace.values.empty(),
                       "{}: 'values' in [trace] names what is computed, but "
                       "compute = \"waits\" in [network] computes nothing; "
                       "leave one of them out",
                       place("trace", "values"));
}

void check_file(const std::filesystem::path& file,
                const char* section,
                const char* key,
                const FindPlace& place) {
    FUSIONLLM_VALIDATE(file.empty() || std::filesystem::exists(file),
                       "{}: '{}' in [{}] names '{}', which does not exist; "
                       "paths are relative to the input file",
                       place(section, key),
                       key,
                       section,
                       file.string());
}

}  // namespace

std::string other_kind_hint(const RunInput& input) {
    const bool is_resnet = input.model_kind == "resnet";
    const auto& others = is_resnet ? gpt2_sizes() : resnet_sizes();
    return std::ranges::find(others, input.model_size) == others.end()
               ? ""
               : fmt::format("; it is one of kind = \"{}\"",
                             is_resnet ? "gpt2" : "resnet");
}

void check_run_input(const RunInput& input, const FindPlace& place) {
    check_run(input.run, place);
    check_model(input, place);
    check_data(input, place);
    check_train(input, place);
    check_compression(input, place);
    check_network(input, place);
}

void check_files(const RunInput& input, const FindPlace& place) {
    const DataSection& data = input.data;
    if (reads_files(data)) {
        for (const auto& path : data.path) {
            check_file(path, "data", "path", place);
        }
    }
    check_file(data.vocabulary_file, "data", "vocabulary_file", place);
    check_file(data.merges_file, "data", "merges_file", place);
    check_file(data.sentencepiece_file, "data", "sentencepiece_file", place);
    check_file(input.model_file.path, "model", "path", place);
    check_file(input.model_file.weights, "model", "weights", place);
    check_file(input.plan.file, "plan", "file", place);
    check_file(input.compression.fences, "compression", "fences", place);
    check_file(
        input.compression.options.replay, "compression", "replay", place);
}

}  // namespace fusionllm::detail
