#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "app/run_input.hpp"
#include "message_of.hpp"
#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;

std::string error_of(const std::string& text,
                     const std::vector<std::string>& overrides) {
    return message_of<InputError>(
        [&] { parse_run_input(text, "inputs/x.toml", overrides); });
}

TEST(RunInputErrors, say_file_line_key_and_value) {
    const struct {
        std::string text, expected;
    } cases[] = {
        // Spelling
        {"[train]\nlearning_rat = 1",
         "inputs/x.toml:2: unknown key 'learning_rat' in [train]; did you mean "
         "'learning_rate'?"},
        {"[run]\n\nzzzzzzzz = 1",
         "inputs/x.toml:3: unknown key 'zzzzzzzz' in [run]"},
        {"[run]\nsteps = 1",
         "inputs/x.toml:2: unknown key 'steps' in [run]; it belongs to "
         "[train] or [trace]"},
        {"[trace]\nkeep = 1",
         "inputs/x.toml:2: unknown key 'keep' in [trace]; it belongs to "
         "[checkpoint]"},
        {"\n[trian]\nsteps = 1",
         "inputs/x.toml:2: unknown section [trian]; did you mean 'train'?"},
        {"steps = 1",
         "inputs/x.toml:1: the key 'steps' is in no section; put it under one "
         "of [run], [model], [data], [train], [topology], [plan], "
         "[checkpoint], [compression], [network], [trace]"},
        {"train = 1",
         "inputs/x.toml:1: 'train' must be a section, written [train], not 1"},
        // Types
        {"[train]\nsteps = 'ten'",
         "inputs/x.toml:2: 'steps' in [train] must be an integer, not "
         "\"ten\""},
        {"[train]\nsteps = 10.0",
         "inputs/x.toml:2: 'steps' in [train] must be an integer, not 10.0"},
        {"[train]\nlearning_rate = '1e-3'",
         "inputs/x.toml:2: 'learning_rate' in [train] must be a number, not "
         "\"1e-3\""},
        {"[train]\nlearning_rate = inf",
         "inputs/x.toml:2: 'learning_rate' in [train] must be a finite number, "
         "not inf"},
        {"[model]\ntie_embeddings = 1",
         "inputs/x.toml:2: 'tie_embeddings' in [model] must be true or false, "
         "not 1"},
        {"[run]\nname = 2024-01-01",
         "inputs/x.toml:2: 'name' in [run] must be a text in quotes, not a "
         "date or time"},
        {"[run]\noutput = true",
         "inputs/x.toml:2: 'output' in [run] must be a path in quotes, not "
         "true"},
        {"[data]\npath = 3",
         "inputs/x.toml:2: 'path' in [data] must be a path in quotes or a list "
         "of them, not 3"},
        {"[data]\nmean = 'a'",
         "inputs/x.toml:2: 'mean' in [data] must be a number or a list of "
         "them, "
         "not \"a\""},
        {"[data]\nmean = [0.5, true]",
         "inputs/x.toml:2: 'mean' in [data] must be a number, not true"},
        {"[data]\npath = [\n 'a',\n 3]",
         "inputs/x.toml:4: 'path' in [data] must be a path in quotes, not 3"},
        // Words
        {"[run]\ndevice = 'gpu'",
         "inputs/x.toml:2: 'device' in [run] must be \"cpu\" or \"cuda\", not "
         "\"gpu\""},
        {"[train]\ncheck = true",
         "inputs/x.toml:2: 'check' in [train] must be \"off\" or \"ops\", not "
         "true"},
        {"[compression]\nrule = 'adatopk'",
         "inputs/x.toml:2: 'rule' in [compression] must be \"none\", "
         "\"uniform\", \"paper\", \"bottleneck\", \"adaptive\" or \"cut\", "
         "not \"adatopk\""},
        {"[compression]\nmax_byte_ratio = 0.5",
         "inputs/x.toml:2: 'max_byte_ratio' in [compression] must be at least "
         "1, not 0.5"},
        {"[network]\nmode = 'real'",
         "inputs/x.toml:2: 'mode' in [network] must be \"none\", "
         "\"emulated\" or \"shaped\", not \"real\""},
        // Ranges
        {"[train]\nsteps = 0",
         "inputs/x.toml:2: 'steps' in [train] must be at least 1, not 0"},
        {"[run]\nseed = -1",
         "inputs/x.toml:2: 'seed' in [run] must be at least 0, not -1"},
        {"[run]\nthreads = 5000",
         "inputs/x.toml:2: 'threads' in [run] must be between 1 and 4096, not "
         "5000"},
        {"[model]\nwidth = 3000000000",
         "inputs/x.toml:2: 'width' in [model] must be between 1 and "
         "2147483647, not 3000000000"},
        {"[model]\ndropout = 1",
         "inputs/x.toml:2: 'dropout' in [model] must be at least 0 and below "
         "1, not 1"},
        {"[data]\nvalidation_fraction = -0.1",
         "inputs/x.toml:2: 'validation_fraction' in [data] must be at least 0 "
         "and below 1, not -0.1"},
        {"[train]\nlearning_rate = 0.0",
         "inputs/x.toml:2: 'learning_rate' in [train] must be above 0, not "
         "0.0"},
        {"[train]\nweight_decay = -1e-3",
         "inputs/x.toml:2: 'weight_decay' in [train] must be at least 0, not "
         "-0.001"},
        {"[train]\nfinal_fraction = 1.5",
         "inputs/x.toml:2: 'final_fraction' in [train] must be at least 0 and "
         "at most 1, not 1.5"},
        {"[checkpoint]\nkeep = 0",
         "inputs/x.toml:2: 'keep' in [checkpoint] must be at least 1, not 0"},
    };

    for (const auto& [text, expected] : cases) {
        EXPECT_EQ(error_of(text, {}), expected) << text;
    }
}

TEST(RunInputErrors, say_line_and_column_of_what_is_no_toml) {
    const std::string in_file = error_of("[train]\nsteps = \n", {});
    const std::string in_setting = error_of("", {"data.path=['a'"});

    EXPECT_TRUE(in_file.starts_with("inputs/x.toml:2:9: Error while parsing"))
        << in_file;
    EXPECT_TRUE(in_setting.starts_with("--set data.path=['a': Error while"))
        << in_setting;
}

TEST(RunInputErrors, say_which_keys_do_not_go_together) {
    const std::string synthetic = "data.kind = 'synthetic'\n";
    const struct {
        std::string text, expected;
    } cases[] = {
        {"[train]\nsteps = 1",
         "inputs/x.toml: 'path' in [data] is missing; name text files or "
         "folders, or set kind = \"synthetic\""},
        {"[data]\npath = 'a'\n[model]\nvocabulary = 255",
         "inputs/x.toml:4: vocabulary = 255 in [model] is too small for "
         "tokenizer = \"bytes\", which makes 256 different tokens; set it to "
         "256 or more"},
        {"[data]\nkind = 'synthetic_images'",
         "inputs/x.toml:2: kind = \"synthetic_images\" in [data] gives images, "
         "but kind = \"gpt2\" in [model] takes tokens; choose \"text\", or a "
         "model of images"},
        {"[data]\nkind = 'tokens'",
         "inputs/x.toml: 'path' in [data] is missing; name files of tokens, or "
         "set kind = \"synthetic\""},
        {"[data]\ntokenizer = 'gpt2'\npath = 'a'\nmerges_file = 'b'",
         "inputs/x.toml: 'vocabulary_file' in [data] is missing for tokenizer "
         "= \"gpt2\"; name its encoder.json"},
        {"[data]\ntokenizer = 'sentencepiece'\npath = 'a'",
         "inputs/x.toml: 'sentencepiece_file' in [data] is missing for "
         "tokenizer = \"sentencepiece\"; name its .model"},
        {"[data]\ntokenizer = 'gpt2'\npath = 'a'\nvocabulary_file = 'b'",
         "inputs/x.toml: 'merges_file' in [data] is missing for tokenizer = "
         "\"gpt2\"; name its vocab.bpe"},
        {"[data]\nkind = 'hdf5'\npath = 'a'",
         "inputs/x.toml: 'inputs' in [data] is missing for kind = \"hdf5\"; "
         "name the datasets in the order of the model's inputs, labels "
         "included"},
        {"[data]\nkind = 'synthetic'\ninputs = ['x']",
         "inputs/x.toml:3: 'inputs' in [data] has no effect with kind = "
         "\"synthetic\"; leave it out"},
        {"[data]\nkind = 'k_hop'\nsymbols = 4\nhops = 4",
         "inputs/x.toml:4: hops = 4 in [data] is too many for symbols = 4: so "
         "many lead back to the start; give at most 3, or more symbols"},
        {"[data]\nkind = 'k_hop'\n[model]\nvocabulary = 103",
         "inputs/x.toml:4: vocabulary = 103 in [model] is too small for kind "
         "= \"k_hop\", which makes 104 different tokens of 8 symbols and 4 "
         "hops; set it to 104 or more"},
        {"[data]\nkind = 'k_hop'\n[model]\ncontext = 8",
         "inputs/x.toml:4: context = 8 in [model] is too short for kind = "
         "\"k_hop\", whose 8 pairs come before the questions; set it to 16 or "
         "more"},
        {synthetic + "[trace]\nsteps = [9, 3]",
         "inputs/x.toml:3: 'steps' in [trace] must be a last step or [first, "
         "last], counted from 1, not a list"},
        {synthetic + "[trace]\nsteps = 0",
         "inputs/x.toml:3: 'steps' in [trace] must be a last step or [first, "
         "last], counted from 1, not 0"},
        {synthetic + "[run]\nname = 'a/b'",
         "inputs/x.toml:3: 'name' in [run] must be a word without '/', not "
         "\"a/b\": it is part of a folder's name"},
        {synthetic + "[model]\nwidth = 100\nheads = 3",
         "inputs/x.toml:3: width = 100 in [model] is not divisible by heads = "
         "3; the nearest that works is 99"},
        {synthetic + "[train]\nbatch = 30\nmicro_batches = 4",
         "inputs/x.toml:3: batch = 30 in [train] is not divisible by "
         "micro_batches = 4; the nearest that work are 28 and 32"},
        {synthetic + "[train]\nbatch = 1\nmicro_batches = 4",
         "inputs/x.toml:3: batch = 1 in [train] is not divisible by "
         "micro_batches = 4; the nearest that works is 4"},
        {synthetic + "[train]\nmomentum = 0.9",
         "inputs/x.toml:3: momentum = 0.9 in [train] is for optimizer = "
         "\"sgd\", but it is \"adamw\"; set momentum = 0 (see beta1)"},
        {synthetic + "[train]\ndecay_steps = 6",
         "inputs/x.toml:3: decay_steps = 6 in [train] has no effect with "
         "learning_rate_schedule = \"constant\"; set that to \"cosine\""},
        {synthetic + "[train]\nlearning_rate_schedule = 'cosine'\n"
                     "warmup_steps = 6\ndecay_steps = 6",
         "inputs/x.toml:5: decay_steps = 6 in [train] must be more than "
         "warmup_steps = 6: the cosine ends at that step"},
        {synthetic + "[compression]\nrule = 'uniform'\ncodec = 'int7'",
         "inputs/x.toml:4: 'codec' in [compression]: there is no codec 'int7' "
         "(known: fp32, bf16, fp16, int8, int6, int5, int4, int3, int2, "
         "graded, graded6, graded5, top_k, top_k_row, "
         "subspace, paper; e.g. int4/int3s, top_k(100,int4), "
         "subspace(16,int4)); did you mean 'int8'?"},
        {synthetic + "[compression]\nrule = 'paper'\ncodec = 'int4'",
         "inputs/x.toml:4: 'codec' in [compression]: rule = \"paper\" has a "
         "codec of its own; leave it out, or choose rule = \"bottleneck\""},
        {synthetic + "[compression]\nrule = 'cut'",
         "inputs/x.toml: 'cut_after' in [compression] is missing for rule = "
         "\"cut\"; name the block or op before the cut, such as \"h.1\""},
        {synthetic + "[compression]\nrule = 'cut'\ncodec = 'int4'",
         "inputs/x.toml:4: 'codec' in [compression]: nothing is encoded with "
         "rule = \"cut\"; leave it out"},
        {synthetic + "[compression]\nrule = 'bottleneck'\ncodec = 'int4'",
         "inputs/x.toml:4: 'codec' in [compression]: 'int4' has no ratio that "
         "rule = \"bottleneck\" could choose; take top_k, top_k_row or "
         "subspace, or rule = \"adaptive\""},
        {synthetic + "[compression]\nrule = 'bottleneck'\n"
                     "codec = 'top_k(50,int4)'",
         "inputs/x.toml:4: 'codec' in [compression]: 'top_k(50,int4)' says a "
         "ratio, which rule = \"bottleneck\" chooses; leave it out, or choose "
         "rule = \"uniform\""},
        {synthetic + "[compression]\nrule = 'uniform'\nadapt = 'on'",
         "inputs/x.toml:4: 'adapt' in [compression]: \"on\" has no effect with "
         "rule = \"uniform\", which does not look at links; choose "
         "\"adaptive\", \"bottleneck\" or \"paper\", or set adapt = \"off\""},
        {synthetic + "[compression]\nadapt = 'replay'",
         "inputs/x.toml: 'replay' in [compression]: a file is needed for adapt "
         "= \"replay\": the record of choices that a run with adapt = \"on\" "
         "has written"},
    };

    for (const auto& [text, expected] : cases) {
        EXPECT_EQ(error_of(text, {}), expected) << text;
    }
}

TEST(RunInputErrors, say_what_is_wrong_with_a_site) {
    const struct {
        std::string sites, expected;
    } cases[] = {
        {"3",
         "inputs/x.toml:2: 'sites' in [topology] must be a list of sites like "
         "{name = \"lyon\", ranks = 2}, not 3"},
        {"[{name = 'a', ranks = 0}]",
         "inputs/x.toml:2: 'ranks' of a site in 'sites' in [topology] must be "
         "an integer between 1 and 1000000, not 0"},
        {"[{name = 'a', rank = 1}]",
         "inputs/x.toml:2: unknown key 'rank' of a site in 'sites' in "
         "[topology]; did you mean 'ranks'?"},
        {"[\n{name = 'a'}]",
         "inputs/x.toml:3: site 'a' in 'sites' in [topology] needs 'ranks', "
         "how many equal devices it has, or 'devices' as in devices = [{kind "
         "= \"a100\", count = 2}]"},
        {"[\n{ranks = 1}]",
         "inputs/x.toml:3: a site in 'sites' in [topology] needs 'name'"},
        {"[{name = 'a', ranks = 1},\n{name = 'a', ranks = 1}]",
         "inputs/x.toml:3: site 'a' is in the topology twice; give every site "
         "its own name or add up its ranks"},
    };

    for (const auto& [sites, expected] : cases) {
        EXPECT_EQ(error_of("[topology]\nsites = " + sites +
                               "\n[data]\nkind = 'synthetic'\n",
                           {}),
                  expected);
    }
}

TEST(RunInputErrors, name_the_setting_that_was_wrong) {
    const struct {
        std::string setting, expected;
    } cases[] = {
        {"train.steps=ten",
         "--set train.steps=ten: 'steps' in [train] must be an integer, not "
         "\"ten\""},
        {"train.steps=0",
         "--set train.steps=0: 'steps' in [train] must be at least 1, not 0"},
        {"train.step=1",
         "--set train.step=1: unknown key 'step' in [train]; did you mean "
         "'steps'?"},
        {"trian.steps=1",
         "--set trian.steps=1: unknown section [trian]; did you mean "
         "'train'?"},
        {"steps=1",
         "--set steps=1: a setting is section.key=value, such as "
         "train.steps=10"},
        {"train.steps",
         "--set train.steps: a setting is section.key=value, such as "
         "train.steps=10"},
        {"train.steps=1\nx=2",
         "--set train.steps=1\nx=2: give one value, in one line"},
        {"train.batch=30",
         "--set train.batch=30: batch = 30 in [train] is not divisible by "
         "micro_batches = 4; the nearest that work are 28 and 32"},
    };

    for (const auto& [setting, expected] : cases) {
        EXPECT_EQ(error_of("[data]\nkind = 'synthetic'\n", {setting}),
                  expected);
    }
}

//! An input file in a folder of its own.
class RunInputFilesTest : public testing::Test {
protected:
    std::string error_of_file(const std::string& text) {
        write_file(file_, text);
        return message_of<InputError>([&] { load_run_input(file_, {}); });
    }

    TemporaryFolder folder_;
    fs::path file_ = folder_.path() / "x.toml";
};

TEST_F(RunInputFilesTest, missing_input_is_named) {
    const auto message =
        message_of<InputError>([&] { load_run_input(file_, {}); });

    EXPECT_EQ(message,
              "cannot read '" + file_.string() +
                  "': No such file or directory; check its path");
}

TEST_F(RunInputFilesTest, missing_text_is_named_with_its_absolute_path) {
    EXPECT_EQ(error_of_file("[data]\npath = ['sub/../text']\n"),
              file_.string() + ":2: 'path' in [data] names '" +
                  (folder_.path() / "text").string() +
                  "', which does not exist; paths are relative to the input "
                  "file");
}

TEST_F(RunInputFilesTest, missing_files_of_a_tokenizer_are_named) {
    write_file(folder_.path() / "a", "text");
    write_file(folder_.path() / "b", "{}");

    EXPECT_EQ(error_of_file("[data]\npath = 'a'\ntokenizer = 'gpt2'\n"
                            "vocabulary_file = 'b'\nmerges_file = 'c'\n"),
              file_.string() + ":5: 'merges_file' in [data] names '" +
                  (folder_.path() / "c").string() +
                  "', which does not exist; paths are relative to the input "
                  "file");
}

TEST_F(RunInputFilesTest, missing_plan_is_named) {
    EXPECT_EQ(error_of_file("data.kind = 'synthetic'\nplan.file = 'plan'\n"),
              file_.string() + ":2: 'file' in [plan] names '" +
                  (folder_.path() / "plan").string() +
                  "', which does not exist; paths are relative to the input "
                  "file");
}

TEST_F(RunInputFilesTest, missing_topology_is_named) {
    EXPECT_EQ(error_of_file("data.kind = 'synthetic'\ntopology.file = 't'\n"),
              file_.string() + ":2: 'file' in [topology] names '" +
                  (folder_.path() / "t").string() +
                  "', which does not exist; paths are relative to the input "
                  "file");
}

TEST_F(RunInputFilesTest, mistakes_in_a_topology_have_its_own_line) {
    const fs::path topology = folder_.path() / "t";
    const struct {
        std::string text, expected;
    } cases[] = {
        {"\nsite = []",
         ":2: unknown key 'site' in a topology; did you mean 'sites'?"},
        {"", ": a topology needs the key 'sites'"},
        {"sites = [\n{name = 1, ranks = 1}]",
         ":2: 'name' of a site in 'sites' must be a text in quotes, not 1"},
    };

    for (const auto& [text, expected] : cases) {
        write_file(topology, text);
        EXPECT_EQ(
            error_of_file("data.kind = 'synthetic'\ntopology.file = 't'\n"),
            topology.string() + expected);
    }
}

TEST_F(RunInputFilesTest, device_files_are_found_beside_the_topology_file) {
    fs::create_directory(folder_.path() / "sub");
    write_file(folder_.path() / "sub/t.toml",
               "device_files = ['d.toml']\nsites = [{name = 'a', ranks = 2}]");
    const std::string input =
        "data.kind = 'synthetic'\ntopology.file = 'sub/t.toml'\n";

    const std::string missing = error_of_file(input);
    write_file(folder_.path() / "sub/d.toml",
               "[[device_kinds]]\nname = 't4'\nfp32 = '8.1 Tflop'");
    const std::string wrong = error_of_file(input);

    EXPECT_EQ(missing,
              (folder_.path() / "sub/t.toml").string() +
                  ":1: 'device_files' names '" +
                  (folder_.path() / "sub/d.toml").string() +
                  "', which does not exist; paths are relative to the file "
                  "that names them");
    EXPECT_TRUE(wrong.starts_with((folder_.path() / "sub/d.toml").string() +
                                  ":3: 'fp32' of a device kind in "
                                  "'device_kinds': '8.1 Tflop' has the unknown "
                                  "unit"))
        << wrong;
}

TEST_F(RunInputFilesTest, topology_file_and_sites_exclude_each_other) {
    const auto message = error_of_file(
        "[data]\nkind = 'synthetic'\n[topology]\nfile = 't'\n"
        "sites = [{name = 'a', ranks = 1}]\n");

    EXPECT_EQ(message,
              file_.string() +
                  ":4: 'file' in [topology] and 'sites' are both given; keep "
                  "one of them");
}

}  // namespace
}  // namespace fusionllm::test
