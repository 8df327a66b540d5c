#pragma once

#include "app/run_input.hpp"
#include "app/run_input_boundary_keys.hpp"
#include "app/run_input_data_keys.hpp"
#include "app/run_input_rules.hpp"
#include "app/run_input_train_keys.hpp"

namespace fusionllm::detail {

/*
 * The one list of all sections and keys: reading, writing and the spelling
 * check are visitors of it, with `section(name, comment)` and
 * `key(name, value, rule, comment)`. `Input` is `RunInput`, may be const.
 */

template <class Input, class Visitor>
void visit_run(Input& input, Visitor& visitor) {
    auto& run = input.run;
    visitor.section("run", "Who and where.");
    visitor.key(
        "name", run.name, Any{}, "Name of the run, in logs and records.");
    visitor.key("seed",
                run.seed,
                any_count,
                "Of everything random: parameters, dropout, sample order.");
    visitor.key("output",
                run.output,
                Any{},
                "Folder for results; \"\" is out-NAME beside this file.");
    visitor.key("threads",
                run.threads,
                IntegerRange{1, 4096},
                "Threads a rank: ATen, OpenMP and the BLAS.");
    visitor.key("device",
                run.device,
                Choices{{"cpu", "cuda"}},
                "Where ranks compute: \"cpu\" or \"cuda\".");
    visitor.key("long_wait",
                run.long_wait,
                Any{},
                "Ranks that wait longer say for what; \"0 s\" = never.");
}

template <class Input, class Visitor>
void visit_model(Input& input, Visitor& visitor) {
    auto& model = input.model;
    visitor.section("model", "What is trained.");
    visitor.key("kind",
                input.model_kind,
                Choices{{"gpt2", "resnet", "pt2", "torchscript", "h5"}},
                "\"gpt2\", \"resnet\", or the kind of a file.");
    auto& file = input.model_file;
    visitor.key("path", file.path, Any{}, "Of a file: where it is.");
    visitor.key("loss",
                file.loss,
                Choices{{"graph", "cross_entropy", "mse"}},
                "Of a file: \"graph\" = its own; else of its output.");
    visitor.key("weights",
                file.weights,
                Any{},
                "First values by name (safetensors); \"\" = the model's own.");
    visitor.key("size",
                input.model_size,
                Any{},
                "A published one, such as \"gpt2-xl\" or \"resnet101\".");
    visitor.key("layers", model.layers, some_size, "Transformer blocks.");
    visitor.key(
        "width", model.width, some_size, "Of the embedding; heads divide it.");
    visitor.key("heads", model.heads, some_size, "Attention heads.");
    visitor.key("context", model.context, some_size, "Tokens a sample.");
    visitor.key("vocabulary",
                model.vocabulary,
                some_size,
                "Different tokens; bytes need 256.");
    visitor.key("dropout",
                model.dropout,
                below_one,
                "Probability that an activation is dropped.");
    visitor.key("tie_embeddings",
                model.tie_embeddings,
                Any{},
                "One matrix for the input and output embedding.");
    auto& resnet = input.resnet;
    visitor.key(
        "classes", resnet.classes, some_size, "Of resnet: different labels.");
    visitor.key(
        "image", resnet.image, some_size, "Of resnet: height and width.");
    visitor.key("stem",
                resnet.stem,
                Choices{{"imagenet", "cifar"}},
                "Of resnet: for \"imagenet\" or small \"cifar\" images.");
    visitor.key("channels",
                resnet.channels,
                some_size,
                "Of resnet: of its first layer; fewer make it narrow.");
}

template <class Input, class Visitor>
void visit_placement(Input& input, Visitor& visitor) {
    auto& topology = input.topology;
    auto& spec = topology.spec;
    visitor.section("topology", "The devices, and what joins them.");
    visitor.key("file",
                topology.file,
                Any{},
                "TOML file with these keys; \"\" = they are given here.");
    visitor.key("device_files",
                spec.kinds,
                TopologyKey{"[]"},
                "Files with device_kinds, as calibrate writes them.");
    visitor.key("device_kinds",
                spec.kinds,
                TopologyKey{nullptr},
                "What kinds of devices can do; [] = the default kind.");
    visitor.key("sites",
                spec.sites,
                TopologyKey{nullptr},
                "Sites in order; [] = one site of all ranks.");
    visitor.key("links",
                spec.links,
                TopologyKey{nullptr},
                "Links between two sites, or two devices.");
    visitor.key("matrix",
                spec.links,
                TopologyKey{"{}"},
                "Links between many sites at once.");
    visitor.key("default_link",
                spec.default_link,
                TopologyKey{nullptr},
                "Between sites that have no link.");
    visitor.key("match",
                topology.match,
                Choices{{"order", "host"}},
                "Ranks take devices in \"order\" or by \"host\".");
    visitor.key("probe",
                topology.probe,
                Any{},
                "Measure the links between sites before planning.");
    visitor.section("plan", "Which rank computes what.");
    visitor.key("partition",
                input.plan.partition,
                Choices{{"op_fence",
                         "equal_flops",
                         "equal_ops",
                         "equal_memory",
                         "exhaustive"}},
                "How ops are shared out; \"op_fence\" looks at the links.");
    visitor.key("device_order",
                input.plan.device_order,
                Choices{{"given", "random"}},
                "Of the equal_* partitions: \"given\" or \"random\".");
    visitor.key(
        "file", input.plan.file, Any{}, "A plan to follow; \"\" = make one.");
}

template <class Input, class Visitor>
void visit_keys(Input& input, Visitor& visitor) {
    visit_run(input, visitor);
    visit_model(input, visitor);
    visit_data(input, visitor);
    visit_train(input, visitor);
    visit_placement(input, visitor);
    visitor.section("checkpoint", "What is saved of a run.");
    visitor.key("every",
                input.train.checkpoint_every,
                any_count,
                "Steps between checkpoints; 0 = only the final one.");
    visitor.key("keep",
                input.train.checkpoint_keep,
                some_count,
                "Newest checkpoints that are kept.");
    visit_compression(input, visitor);
    visit_network(input, visitor);
    visit_trace(input, visitor);
}

}  // namespace fusionllm::detail
