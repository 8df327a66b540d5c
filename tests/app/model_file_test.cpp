#include "app/model_file.hpp"

#include <algorithm>

#include <gtest/gtest.h>

#include "fusionllm/io/safetensors.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "app/first_values.hpp"
#include "app/job.hpp"
#include "app/model.hpp"
#include "message_of.hpp"
#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;

const fs::path archives = FUSIONLLM_ARCHIVES;

RunInput parse(const std::string& model,
               const std::vector<std::string>& overrides) {
    return parse_run_input("[data]\nkind = 'synthetic'\n[model]\n" + model,
                           archives / "x.toml",
                           overrides);
}

RunInput parse_gpt(const std::vector<std::string>& overrides) {
    return parse("kind = 'pt2'\npath = 'gpt.pt2'", overrides);
}

fs::path import(const TemporaryFolder& folder, const std::string& name) {
    const fs::path source = archives / (name + ".pt2");
    const fs::path file = folder.path() / (name + ".h5");
    write_as_model_file(file,
                        read_model_graph("pt2", source),
                        read_model_weights("pt2", source));
    return file;
}

class EveryArchive : public testing::TestWithParam<const char*> {};

TEST_P(EveryArchive, is_the_same_model_once_imported) {
    const TemporaryFolder folder;
    const fs::path source = archives / (std::string(GetParam()) + ".pt2");
    const ModelFileGraph model = read_model_graph("pt2", source);
    const ModelFileWeights weights = read_model_weights("pt2", source);

    const fs::path file = import(folder, GetParam());

    const ModelFileGraph stored = read_model_graph("h5", file);
    const ModelFileWeights stored_weights = read_model_weights("h5", file);
    EXPECT_EQ(stored.graph, model.graph);
    EXPECT_EQ(stored.shared_names, model.shared_names);
    EXPECT_EQ(stored.state_dict_names, model.state_dict_names);
    EXPECT_EQ(stored.notes, model.notes);
    const auto compare = [&](const std::string& name) {
        EXPECT_EQ(stored_weights.type(name), weights.type(name)) << name;
        EXPECT_EQ(stored_weights.load(name), weights.load(name)) << name;
    };
    for (const Parameter& parameter : model.graph.signature().parameters) {
        compare(parameter.name);
    }
    for (const ModelBuffer& buffer : model.graph.signature().buffers) {
        compare(buffer.name);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Archives,
    EveryArchive,
    testing::Values("gpt", "mlp_layout2", "conv_net", "two_inputs", "llama"));

TEST(ModelFile, knows_all_names_of_the_state_dict) {
    const auto names =
        read_model_graph("pt2", archives / "gpt.pt2").state_dict_names;
    const auto has = [&](const std::string& name) {
        return std::ranges::count(names, name) == 1;
    };

    EXPECT_TRUE(has("wte.weight"));
    EXPECT_TRUE(has("lm_head.weight"));  // shared
    EXPECT_FALSE(has("positions"));      // a buffer that is not saved
}

TEST(ModelFile, kind_follows_from_its_name) {
    EXPECT_EQ(model_kind_of("a/m.pt2"), "pt2");
    EXPECT_EQ(model_kind_of("m.h5"), "h5");
    EXPECT_THROW(model_kind_of("m.onnx"), InputError);
}

TEST(ModelFile, has_the_size_of_its_micro_batches) {
    const RunInput input = parse_gpt({"train.batch=8"});
    const ModelSource source = load_model(input);

    EXPECT_EQ(input.micro_batches, 0);
    EXPECT_EQ(choose_micro_batches(input, source, std::nullopt).micro_batches,
              4);
    EXPECT_EQ(message_of<InputError>([&] {
                  choose_micro_batches(
                      parse_gpt({"train.batch=7"}), source, std::nullopt);
              }),
              "batch = 7 in [train] is not a multiple of 2, the samples of a "
              "micro-batch that model 'gpt' was exported with; set it to 8, or "
              "export the model again");
    EXPECT_EQ(message_of<InputError>([&] {
                  choose_micro_batches(
                      parse_gpt({"train.batch=8", "train.micro_batches=2"}),
                      source,
                      std::nullopt);
              }),
              "micro_batches = 2 in [train], but a batch of 8 samples is 4 of "
              "those that model 'gpt' was exported with, of 2; leave "
              "micro_batches out, or export the model again");
}

TEST(ModelFile, is_told_to_other_ranks_as_text) {
    const ModelSource source = load_model(parse_gpt({}));

    EXPECT_EQ(parse_model_source(to_text(source)), source);
    EXPECT_EQ(parse_model_source(to_text(ModelSource())), ModelSource());
}

TEST(ModelFile, gets_the_loss_that_the_input_wants) {
    const OpGraph own = *load_model(parse_gpt({})).graph;
    const OpGraph other =
        *load_model(parse_gpt({"model.loss=cross_entropy"})).graph;

    EXPECT_EQ(own.signature().num_labels, 0u);
    EXPECT_EQ(other.signature().num_labels, 1u);
    EXPECT_EQ(other.signature().inputs.size(), 3u);
}

TEST(ModelFile, gives_first_values_to_the_rank_that_asks) {
    const RunInput input = parse_gpt({});
    const auto values = make_first_values(input, load_model(input));

    EXPECT_EQ(
        values("ln_f.weight"),
        read_model_weights("pt2", archives / "gpt.pt2").load("ln_f.weight"));
    EXPECT_FALSE(make_first_values(RunInput(), {}));
}

TEST(ModelFile, must_be_the_one_that_rank_0_read) {
    const TemporaryFolder folder;
    const fs::path file = import(folder, "gpt");
    const RunInput input =
        parse("kind = 'h5'\npath = '" + file.string() + "'", {});
    const ModelSource source = load_model(input);

    fs::copy_file(
        import(folder, "mlp"), file, fs::copy_options::overwrite_existing);
    EXPECT_NE(message_of<InputError>([&] {
                  make_first_values(input, source)("ln_f.weight");
              }).find("is not the one that rank 0 read"),
              std::string::npos);

    fs::remove(file);
    EXPECT_NE(message_of<InputError>([&] {
                  make_first_values(input, source)("ln_f.weight");
              }).find("there is no file '" + file.string() + "' here"),
              std::string::npos);
}

TEST(ModelFile, says_what_is_missing_or_too_much) {
    const struct {
        std::string model, expected;
    } cases[] = {
        {"kind = 'pt2'",
         "'path' in [model] is missing for kind = \"pt2\"; name the file of "
         "the model"},
        {"kind = 'h5'\npath = 'm.h5'\nsize = 'gpt2'",
         "'size' in [model] has no effect with kind = \"h5\"; leave it out"},
        {"kind = 'h5'\npath = 'm.h5'\nlayers = 2",
         "'layers' in [model] has no effect with kind = \"h5\"; leave it out"},
        {"path = 'm.h5'",
         "'path' in [model] has no effect with kind = \"gpt2\"; leave it out"},
        {"loss = 'mse'",
         "'loss' in [model] has no effect with kind = \"gpt2\"; leave it out"},
    };
    for (const auto& [model, expected] : cases) {
        const std::string error =
            message_of<InputError>([&] { parse(model, {}); });
        EXPECT_NE(error.find(expected), std::string::npos) << error;
    }
}

//! All parameters of a small GPT-2, each with its own number everywhere.
fs::path write_gpt2(const TemporaryFolder& folder,
                    const RunInput& input,
                    const std::string& prefix) {
    const OpGraph graph = make_gpt2(input.model, 1);
    std::vector<TensorEntry> entries;
    for (const Parameter& parameter : graph.signature().parameters) {
        entries.push_back(
            {prefix + parameter.name, graph.value(parameter.value).type});
    }
    const fs::path file = folder.path() / "gpt2.safetensors";
    write_safetensors(file, entries, {}, [&](const std::string& name) {
        for (const TensorEntry& entry : entries) {
            if (entry.name == name) {
                return HostTensor{entry.type,
                                  std::vector<std::byte>(
                                      num_bytes(entry.type),
                                      static_cast<std::byte>(name.size()))};
            }
        }
        throw Error("no such tensor");
    });
    return file;
}

TEST(NamedWeights, of_a_published_gpt2_are_its_first_values) {
    const TemporaryFolder folder;
    for (const std::string prefix : {"", "transformer."}) {
        const fs::path file =
            write_gpt2(folder, parse("layers = 1", {}), prefix);
        const RunInput input =
            parse("layers = 1\nweights = '" + file.string() + "'", {});

        const auto values = make_first_values(input, load_model(input));

        EXPECT_EQ(
            values("h.0.attn.c_attn.weight"),
            SafetensorsReader(file).read(prefix + "h.0.attn.c_attn.weight"));
        EXPECT_EQ(values("nothing"), std::nullopt);
    }
}

TEST(NamedWeights, must_be_all_there_and_of_the_right_sizes) {
    const TemporaryFolder folder;
    const fs::path file = write_gpt2(folder, parse("layers = 1", {}), "");
    const auto error_with = [&](const std::string& layers,
                                const std::string& width) {
        const RunInput input =
            parse("weights = '" + file.string() + "'",
                  {"model.layers=" + layers, "model.width=" + width});
        return message_of<InputError>([&] { load_model(input); });
    };

    EXPECT_EQ(error_with("1", "128"), "");
    EXPECT_NE(error_with("2", "128").find("holds no tensor 'h.1."),
              std::string::npos);
    EXPECT_NE(error_with("1", "64").find("is f32[256,128] in"),
              std::string::npos);
}

}  // namespace
}  // namespace fusionllm::test
