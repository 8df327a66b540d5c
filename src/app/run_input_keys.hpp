#pragma once

#include "app/run_input.hpp"
#include "app/run_input_rules.hpp"

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
}

template <class Input, class Visitor>
void visit_model(Input& input, Visitor& visitor) {
    auto& model = input.model;
    visitor.section("model", "What is trained.");
    visitor.key(
        "kind", input.model_kind, Choices{{"gpt2"}}, "Which model: \"gpt2\".");
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
}

template <class Input, class Visitor>
void visit_data(Input& input, Visitor& visitor) {
    auto& data = input.data;
    visitor.section("data", "What it is trained on.");
    visitor.key("kind",
                data.kind,
                Choices{{"text", "synthetic"}},
                "\"text\" files, or a made-up \"synthetic\" sequence.");
    visitor.key("path",
                data.path,
                Any{},
                "Files or folders of text, relative to this file.");
    visitor.key("tokenizer",
                data.tokenizer,
                Choices{{"bytes"}},
                "How text becomes tokens: \"bytes\".");
    visitor.key("validation_fraction",
                data.validation_fraction,
                below_one,
                "Share of the data that is kept for evaluation.");
    visitor.key("shuffle",
                data.shuffle,
                Any{},
                "Samples in a random order that depends on "
                "the seed alone.");
}

template <class Input, class Visitor>
void visit_optimizer(Input& input, Visitor& visitor) {
    auto& optimizer = input.train.optimizer;
    visitor.key("optimizer",
                optimizer.kind,
                Choices{{"sgd", "adamw"}},
                "Update rule: \"sgd\" or \"adamw\".");
    visitor.key("momentum", optimizer.momentum, below_one, "Of sgd.");
    visitor.key("beta1",
                optimizer.beta1,
                below_one,
                "Of adamw: decay of the mean gradient.");
    visitor.key("beta2",
                optimizer.beta2,
                below_one,
                "Of adamw: decay of the mean squared gradient.");
    visitor.key("epsilon",
                optimizer.epsilon,
                above_zero,
                "Of adamw: added to the root of the mean square.");
    visitor.key("weight_decay",
                optimizer.weight_decay,
                at_least_zero,
                "Of both: times the learning rate, taken off a weight.");
    visitor.key("clip_norm",
                input.train.clip_norm,
                at_least_zero,
                "Largest norm of the whole gradient; 0 = no clipping.");
}

template <class Input, class Visitor>
void visit_learning_rate(Input& input, Visitor& visitor) {
    auto& rate = input.train.learning_rate;
    visitor.key("learning_rate",
                rate.peak,
                above_zero,
                "The largest one, after warm-up.");
    visitor.key("learning_rate_schedule",
                rate.schedule,
                Choices{{"constant", "cosine"}},
                "After warm-up: \"constant\" or \"cosine\".");
    visitor.key("warmup_steps",
                rate.warmup_steps,
                any_count,
                "Steps of linear growth from 0.");
    visitor.key("decay_steps",
                rate.decay_steps,
                any_count,
                "Of cosine: the step at its end; 0 = the last one.");
    visitor.key("final_fraction",
                rate.final_fraction,
                up_to_one,
                "Of cosine: share of learning_rate that is left.");
}

template <class Input, class Visitor>
void visit_train(Input& input, Visitor& visitor) {
    auto& train = input.train;
    visitor.section("train", "How it is trained.");
    visitor.key("steps", train.steps, some_count, "Updates in all.");
    visitor.key("batch", train.batch, some_size, "Samples a step.");
    visitor.key("micro_batches",
                input.micro_batches,
                some_size,
                "Parts of a batch in the pipeline; they divide it.");
    visitor.key("schedule",
                input.schedule,
                Choices{{"gpipe", "1f1b"}},
                "Order of forwards and backwards: \"gpipe\" or \"1f1b\".");
    visit_optimizer(input, visitor);
    visit_learning_rate(input, visitor);
    visitor.key("evaluate_every",
                train.evaluate_every,
                any_count,
                "Steps between evaluations; 0 = none.");
    visitor.key("check",
                train.check_ops,
                Choices{{"off", "ops"}},
                "\"ops\" names the op that makes a non-finite number.");
}

template <class Input, class Visitor>
void visit_placement(Input& input, Visitor& visitor) {
    auto& topology = input.topology;
    auto& spec = topology.spec;
    visitor.section("topology",
                    "Which devices there are, and what joins them.");
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
    visitor.section("plan", "Which rank computes what.");
    visitor.key("partition",
                input.plan.partition,
                Choices{{"equal_flops", "equal_ops"}},
                "How ops are shared out: \"equal_flops\", \"equal_ops\".");
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
    visitor.section("compression", "What is sent between stages.");
    visitor.key("rule",
                input.compression_rule,
                Choices{{"none"}},
                "Which links compress: \"none\".");
    visitor.section("network", "Emulated links.");
    visitor.key("mode",
                input.network_mode,
                Choices{{"none"}},
                "\"none\": messages take the time they take.");
    visitor.section("trace", "Has no keys yet.");
}

}  // namespace fusionllm::detail
