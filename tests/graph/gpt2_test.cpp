#include "fusionllm/graph/gpt2.hpp"

#include <cmath>
#include <numeric>
#include <string>

#include <gtest/gtest.h>

#include "fusionllm/graph/slice.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

std::int64_t count_parameters(const OpGraph& graph) {
    std::int64_t count = 0;
    for (const Parameter& parameter : graph.signature().parameters) {
        count += num_elements(graph.value(parameter.value).type);
    }
    return count;
}

const Parameter& find_parameter(const OpGraph& graph, const std::string& name) {
    for (const Parameter& parameter : graph.signature().parameters) {
        if (parameter.name == name) {
            return parameter;
        }
    }
    throw std::out_of_range("no parameter is named " + name);
}

TEST(Gpt2, has_as_many_parameters_as_the_published_models) {
    const auto count = [](const std::string& size) {
        return count_parameters(make_gpt2(published_gpt2(size), 1));
    };

    EXPECT_EQ(count("gpt2"), 124'439'808);
    EXPECT_EQ(count("gpt2-medium"), 354'823'168);
    EXPECT_EQ(count("gpt2-large"), 774'030'080);
    EXPECT_EQ(count("gpt2-xl"), 1'557'611'200);
}

TEST(Gpt2, says_which_sizes_were_published) {
    try {
        published_gpt2("gpt2-xxl");
        FAIL() << "no error";
    } catch (const InputError& error) {
        EXPECT_EQ(std::string(error.what()),
                  "there is no GPT-2 of size 'gpt2-xxl'; did you mean "
                  "'gpt2-xl'?; the sizes are gpt2, gpt2-medium, gpt2-large, "
                  "gpt2-xl");
    }
}

TEST(Gpt2, has_a_head_of_its_own_if_embeddings_are_not_tied) {
    Gpt2Options options = published_gpt2("gpt2");
    options.tie_embeddings = false;

    const OpGraph graph = make_gpt2(options, 1);

    EXPECT_EQ(count_parameters(graph), 124'439'808 + 50257 * 768);
    EXPECT_EQ(graph.signature().parameters.back().name, "lm_head.weight");
}

TEST(Gpt2, uses_the_tied_embedding_first_and_near_the_end) {
    const OpGraph graph = make_gpt2({}, 2);

    const auto uses = uses_of_parameter(graph, 0);

    ASSERT_EQ(uses.size(), 2u);
    EXPECT_EQ(graph.op(uses[0].op).name, "wte");
    EXPECT_EQ(graph.op(uses[1].op).name, "lm_head");
}

TEST(Gpt2, starts_parameters_as_published) {
    const OpGraph graph = make_gpt2({.layers = 8}, 1);
    const auto initializer = [&](const std::string& name) {
        return find_parameter(graph, name).initializer;
    };
    using Kind = Initializer::Kind;

    EXPECT_EQ(initializer("wpe.weight"), (Initializer{Kind::normal, 0.02}));
    EXPECT_EQ(initializer("h.7.attn.c_attn.weight"),
              (Initializer{Kind::normal, 0.02}));
    EXPECT_EQ(initializer("h.7.mlp.c_proj.weight"),
              (Initializer{Kind::normal, 0.02 / std::sqrt(16.0)}));
    EXPECT_EQ(initializer("h.7.mlp.c_proj.bias").kind, Kind::zeros);
    EXPECT_EQ(initializer("ln_f.weight").kind, Kind::ones);
}

TEST(Gpt2, decays_matrices_only) {
    const OpGraph graph = make_gpt2({}, 1);

    for (const Parameter& parameter : graph.signature().parameters) {
        const std::size_t rank = graph.value(parameter.value).type.sizes.size();
        EXPECT_EQ(parameter.has_weight_decay, rank == 2) << parameter.name;
    }
}

TEST(Gpt2, gives_a_gradient_to_every_parameter_and_to_no_mask) {
    const OpGraph graph = make_gpt2({.dropout = 0.1}, 1);

    for (const Parameter& parameter : graph.signature().parameters) {
        EXPECT_TRUE(graph.has_gradient(parameter.value)) << parameter.name;
    }
    for (const Op& op : graph.ops()) {
        if (op.target == "fusionllm::dropout_mask") {
            EXPECT_FALSE(graph.has_gradient(op.outputs[0])) << op.name;
        }
    }
}

TEST(Gpt2, has_labels_last_and_logits_and_a_loss) {
    const OpGraph graph = make_gpt2({}, 3);
    const GraphSignature& signature = graph.signature();

    ASSERT_EQ(signature.inputs.size(), 2u);
    EXPECT_EQ(signature.num_labels, 1u);
    EXPECT_EQ(graph.value(signature.inputs[0]).name, "tokens");
    EXPECT_EQ(graph.value(signature.inputs[1]).name, "labels");
    EXPECT_EQ(to_text(graph.value(signature.inputs[0]).type), "i64[3,128]");
    EXPECT_EQ(graph.value(signature.output.value()).name, "logits");
    EXPECT_EQ(to_text(graph.value(*signature.output).type), "f32[3,128,256]");
    EXPECT_EQ(graph.value(signature.loss.value()).name, "loss");
}

TEST(Gpt2, keeps_the_number_of_elements_in_views) {
    const OpGraph graph = make_gpt2({}, 3);
    int num_views = 0;

    for (const Op& op : graph.ops()) {
        if (op.target == "aten::view" || op.target == "aten::reshape") {
            ++num_views;
            const ValueId from = std::get<ValueId>(op.arguments[0]);
            EXPECT_EQ(num_elements(graph.value(from).type),
                      num_elements(graph.value(op.outputs[0]).type))
                << op.name;
        }
    }
    EXPECT_GT(num_views, 4);
}

class Gpt2CutTest : public testing::TestWithParam<Gpt2Options> {};

TEST_P(Gpt2CutTest, cuts_between_layers_carry_only_the_residual_stream) {
    const OpGraph graph = make_gpt2(GetParam(), 4);
    const std::int64_t num_rows = 4 * GetParam().context;
    int num_cuts = 0;

    for (std::size_t i = 0; i < graph.ops().size(); ++i) {
        const std::string& name = graph.ops()[i].name;
        const bool begins_layer = name.ends_with("ln_1") || name == "ln_f";
        if (begins_layer) {
            ++num_cuts;
            const auto across = values_across(graph, i);
            ASSERT_EQ(across.size(), 1u) << name;
            EXPECT_EQ(graph.value(across[0]).type,
                      (TensorType{DType::f32, {num_rows, GetParam().width}}));
        }
    }
    EXPECT_EQ(num_cuts, GetParam().layers + 1);
}

TEST_P(Gpt2CutTest, ops_come_layer_by_layer) {
    const OpGraph graph = make_gpt2(GetParam(), 4);
    int last_layer = 0;

    for (const Op& op : graph.ops()) {
        if (op.name.starts_with("h.")) {
            const int layer = std::stoi(op.name.substr(2));
            EXPECT_GE(layer, last_layer) << op.name;
            last_layer = layer;
        }
    }
    EXPECT_EQ(last_layer, GetParam().layers - 1);
}

INSTANTIATE_TEST_SUITE_P(
    Options,
    Gpt2CutTest,
    testing::Values(Gpt2Options{},
                    Gpt2Options{.dropout = 0.1},
                    Gpt2Options{.layers = 12, .tie_embeddings = false},
                    Gpt2Options{.width = 8, .heads = 2, .context = 512},
                    Gpt2Options{.width = 512, .heads = 2, .context = 4},
                    Gpt2Options{.width = 64,
                                .heads = 64,
                                .context = 64,
                                .vocabulary = 3,
                                .dropout = 0.5}));

TEST(Gpt2, refuses_sizes_that_do_not_fit_together) {
    EXPECT_THROW(make_gpt2({.width = 10, .heads = 4}, 1), InputError);
    EXPECT_THROW(make_gpt2({.layers = 0}, 1), InputError);
    EXPECT_THROW(make_gpt2({.dropout = 1}, 1), InputError);
    EXPECT_THROW(make_gpt2({}, 0), InputError);
}

}  // namespace
}  // namespace fusionllm::test
