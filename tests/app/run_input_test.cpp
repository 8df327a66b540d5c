#include "app/run_input.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "fusionllm/util/file.hpp"
#include "fusionllm/util/text.hpp"

#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;

const std::string synthetic = "[data]\nkind = \"synthetic\"\n";

RunInput parse(const std::string& text,
               const std::vector<std::string>& overrides) {
    return parse_run_input(text, "/inputs/x.toml", overrides);
}

//! "section.key" of every line of the default input.
std::vector<std::string> all_keys() {
    std::vector<std::string> keys;
    std::string section;
    for (const std::string& line : split(to_toml(RunInput{}), '\n')) {
        if (line.starts_with("[")) {
            section = line.substr(1, line.size() - 2);
        } else if (line.find(" = ") != std::string::npos && line[0] != '#') {
            keys.push_back(section + "." + line.substr(0, line.find(" = ")));
        }
    }
    std::sort(keys.begin(), keys.end());
    return keys;
}

TEST(RunInput, has_its_defaults_when_nothing_is_given) {
    RunInput expected;
    expected.data.kind = "synthetic";
    expected.run.output = "/inputs/out-run";
    expected.train.output = "/inputs/out-run";

    EXPECT_EQ(parse(synthetic, {}), expected);
}

TEST(RunInput, default_dump_reads_back_as_the_defaults) {
    const std::vector<std::string> overrides{"data.path=text"};

    const RunInput read = parse(to_toml(RunInput{}), overrides);

    EXPECT_EQ(read, parse("", overrides));
    EXPECT_EQ(read.data.path, std::vector<fs::path>{"/inputs/text"});
}

TEST(RunInput, has_every_key_settable_and_in_its_dump) {
    // What each one is set to, and any setting that it needs beside it.
    const std::map<std::string, std::vector<std::string>> settings{
        {"run.name", {"other"}},
        {"run.seed", {"9223372036854775807"}},
        {"run.output", {"../results"}},
        {"run.threads", {"3"}},
        {"run.device", {"cuda"}},
        {"run.long_wait", {"2 min"}},
        {"model.kind", {"gpt2"}},
        {"model.path", {"/m.pt2", "model.kind=pt2", "model.path=/m.pt2"}},
        {"model.loss", {"mse", "model.kind=pt2", "model.path=m.pt2"}},
        {"model.weights", {"w.safetensors"}},
        {"model.layers", {"7"}},
        {"model.width", {"64"}},
        {"model.heads", {"8"}},
        {"model.context", {"33"}},
        {"model.vocabulary", {"300"}},
        {"model.dropout", {"0.3"}},
        {"model.tie_embeddings", {"false"}},
        {"model.size", {"gpt2-xl"}},
        {"model.classes", {"10", "model.kind=resnet", "model.size=resnet18"}},
        {"model.image", {"32", "model.kind=resnet", "model.size=resnet18"}},
        {"model.channels", {"8", "model.kind=resnet", "model.size=resnet18"}},
        {"model.stem", {"cifar", "model.kind=resnet", "model.size=resnet18"}},
        {"data.kind", {"text", "data.path=a"}},
        {"data.path", {"['a', '/b']"}},
        {"data.inputs", {"['x', 'y']", "data.kind=tokens", "data.path=a"}},
        {"data.tokenizer",
         {"gpt2", "data.vocabulary_file=v", "data.merges_file=m"}},
        {"data.vocabulary_file", {"encoder.json"}},
        {"data.merges_file", {"vocab.bpe"}},
        {"data.sentencepiece_file", {"m.model"}},
        {"data.validation_fraction", {"0.123456789012345678"}},
        {"data.shuffle", {"false"}},
        {"data.symbols", {"9"}},
        {"data.hops", {"3"}},
        {"data.label_noise", {"0.25"}},
        {"data.crop_padding", {"4"}},
        {"data.flip", {"true"}},
        {"data.mean", {"[0.5, 0.25, 1]"}},
        {"data.deviation", {"0.25"}},
        {"train.steps", {"12"}},
        {"train.batch", {"36"}},
        {"train.micro_batches", {"8"}},
        {"train.schedule", {"gpipe"}},
        {"train.recompute", {"auto"}},
        {"train.optimizer", {"sgd"}},
        {"train.momentum", {"0.9", "train.optimizer=sgd"}},
        {"train.beta1", {"0.8"}},
        {"train.beta2", {"0.99"}},
        {"train.epsilon", {"5e-324"}},
        {"train.weight_decay", {"0.1"}},
        {"train.clip_norm", {"1"}},
        {"train.learning_rate", {"3e-4"}},
        {"train.learning_rate_schedule", {"cosine"}},
        {"train.warmup_steps", {"5"}},
        {"train.decay_steps", {"50", "train.learning_rate_schedule=cosine"}},
        {"train.final_fraction", {"1"}},
        {"train.evaluate_every", {"4"}},
        {"train.check", {"ops"}},
        {"topology.file", {""}},
        {"topology.sites",
         {"[{name = 'ly\"on', ranks = 2}, {name = 'osaka', ranks = 1}]"}},
        {"topology.device_files", {"[]"}},
        {"topology.device_kinds", {"[{name = 't4', fp32 = '8 Tflop/s'}]"}},
        {"topology.links",
         {"[{between = ['a', 'b'], bandwidth = '8 Mbit/s', latency = '9 ms'}]",
          "topology.sites=[{name = 'a', ranks = 1}, {name = 'b', ranks = 1}]"}},
        {"topology.matrix",
         {"{sites = ['a', 'b'], bandwidth = [['', '8 Mbit/s'], ['', '']],"
          "latency = [['', '9 ms'], ['', '']]}",
          "topology.sites=[{name = 'a', ranks = 1}, {name = 'b', ranks = 1}]"}},
        {"topology.probe", {"true"}},
        {"topology.default_link", {"{bandwidth = '1 kB/s', latency = '2 s'}"}},
        {"topology.match", {"host"}},
        {"plan.partition", {"equal_ops"}},
        {"plan.device_order", {"random"}},
        {"plan.file", {"plan.txt"}},
        {"checkpoint.every", {"10"}},
        {"checkpoint.keep", {"1"}},
        {"compression.rule", {"paper"}},
        {"compression.codec", {"int4/int3s", "compression.rule=uniform"}},
        {"compression.element_ratio", {"7.5", "compression.rule=uniform"}},
        {"compression.max_byte_ratio", {"16", "compression.rule=adaptive"}},
        {"compression.max_error", {"0.5", "compression.rule=adaptive"}},
        {"compression.error_price", {"0.5", "compression.rule=adaptive"}},
        {"compression.adapt", {"on", "compression.rule=adaptive"}},
        {"compression.replay", {"choices.txt", "compression.rule=none"}},
        {"compression.basis_every", {"50", "compression.rule=none"}},
        {"compression.measure_every", {"10", "compression.rule=none"}},
        {"compression.evaluate", {"both", "compression.rule=none"}},
        {"compression.fences", {"plan.txt", "compression.rule=none"}},
        {"compression.cut_after", {"h.1", "compression.rule=none"}},
        {"compression.restart", {"zeros", "compression.rule=none"}},
        {"network.mode", {"emulated"}},
        {"network.compute", {"waits"}},
        {"network.time_scale", {"2.5"}},
        {"network.jitter", {"3 ms", "network.mode=shaped"}},
        {"network.changes",
         {"['a-b x0.1 at 30 s', 'a-b x0 at 1 s for 5 s']",
          "network.mode=shaped",
          "topology.sites=[{name = 'a', ranks = 1}, {name = 'b', ranks = 1}]"}},
        {"trace.values", {"['h.1', 'all']"}},
        {"trace.steps", {"[3, 9]"}},
        {"trace.every", {"10"}},
        {"trace.micro_batches", {"2"}},
        {"trace.file", {"acts.h5"}},
    };
    // These have one value only here, or none that stays in a resolved input.
    const std::set<std::string> unchangeable{
        "model.kind", "model.path", "topology.file", "topology.device_files"};
    std::vector<std::string> keys;

    for (const auto& [key, values] : settings) {
        keys.push_back(key);
        std::vector<std::string> overrides{key + "=" + values[0]};
        overrides.insert(overrides.end(), values.begin() + 1, values.end());
        const RunInput input = parse(synthetic, overrides);
        overrides.erase(overrides.begin());
        const RunInput without = parse(synthetic, overrides);
        EXPECT_EQ(parse(to_toml(input), {}), input) << key;
        EXPECT_EQ(input == without, unchangeable.contains(key)) << key;
    }

    EXPECT_EQ(keys, all_keys());
}

TEST(RunInput, compresses_adaptively_where_the_section_names_no_rule) {
    const auto rule = [](const std::string& text,
                         const std::vector<std::string>& overrides) {
        return parse(synthetic + text, overrides).compression.options.rule;
    };

    EXPECT_EQ(rule("", {}), "none");
    EXPECT_EQ(rule("[compression]\n", {}), "adaptive");
    EXPECT_EQ(rule("", {"compression.max_error=0.1"}), "adaptive");
    EXPECT_EQ(rule("[compression]\n", {"compression.rule=none"}), "none");
    EXPECT_EQ(rule("[compression]\nrule='paper'\n", {}), "paper");
}

TEST(RunInput, survives_another_folder_once_resolved) {
    const RunInput input =
        parse("data.path = 'a'\nplan.file = '../b'\nrun.output = 'c'", {});

    const RunInput moved =
        parse_run_input(to_toml(input), "/elsewhere/input.toml", {});

    EXPECT_EQ(moved, input);
    EXPECT_EQ(moved.plan.file, "/b");
    EXPECT_EQ(moved.run.output, "/inputs/c");
}

TEST(RunInput, keeps_texts_that_need_escapes) {
    const std::string name = "tab\t\"quoted\" back\\slash \x01 \x7f é";
    RunInput input = parse(synthetic, {});
    input.run.name = name;

    EXPECT_EQ(parse(to_toml(input), {}).run.name, name);
}

TEST(RunInput, gives_seed_and_output_to_the_trainer) {
    const RunInput input =
        parse(synthetic, {"run.seed=7", "run.output=/results"});

    EXPECT_EQ(input.train.seed, 7u);
    EXPECT_EQ(input.train.output, "/results");
}

TEST(RunInput, takes_an_integer_for_a_number) {
    EXPECT_EQ(
        parse(synthetic, {"train.learning_rate=1"}).train.learning_rate,
        parse(synthetic, {"train.learning_rate=1.0"}).train.learning_rate);
}

TEST(RunInput, takes_a_single_path_for_a_list) {
    EXPECT_EQ(parse("[data]\npath = 'a'", {}),
              parse("[data]\npath = ['a']", {}));
}

TEST(RunInput, takes_sites_as_tables_too) {
    const RunInput input =
        parse(synthetic +
                  "[[topology.sites]]\nname = 'a'\nranks = 2\n"
                  "[[topology.sites]]\nname = 'b'\nranks = 1\n",
              {});

    EXPECT_EQ(input.topology.spec.sites,
              (std::vector<SiteSpec>{{"a", 2}, {"b", 1}}));
}

TEST(RunInput, takes_one_value_and_a_last_step_to_trace) {
    const RunInput input =
        parse(synthetic + "[trace]\nvalues = 'all'\nsteps = 500\n", {});

    EXPECT_EQ(input.trace.values, std::vector<std::string>{"all"});
    EXPECT_EQ(input.trace.steps, (std::vector<std::int64_t>{1, 500}));
    EXPECT_EQ(parse(to_toml(input), {}), input);
}

TEST(RunInput, last_override_of_a_key_counts) {
    const RunInput input = parse(synthetic + "[train]\nsteps = 3\n",
                                 {"train.steps=4", "train.steps = 5"});

    EXPECT_EQ(input.train.steps, 5);
}

TEST(RunInput, override_without_quotes_is_a_text) {
    EXPECT_EQ(parse(synthetic, {"run.name=a b#c"}).run.name, "a b#c");
    EXPECT_EQ(parse(synthetic, {"run.name='true'"}).run.name, "true");
}

TEST(RunInput, takes_sites_from_a_topology_file) {
    const TemporaryFolder folder;
    write_file(folder.path() / "sites.toml",
               "sites = [{name = 'lyon', ranks = 2}]\n");
    write_file(folder.path() / "x.toml",
               synthetic + "[topology]\nfile = 'sites.toml'\n");

    const RunInput input = load_run_input(folder.path() / "x.toml", {});

    EXPECT_EQ(input.topology.spec.sites, (std::vector<SiteSpec>{{"lyon", 2}}));
    EXPECT_EQ(input.topology.file, "");
    EXPECT_EQ(parse(to_toml(input), {}), input);
}

}  // namespace
}  // namespace fusionllm::test
