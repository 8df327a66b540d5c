#include <cstring>
#include <optional>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/importers/import.hpp"
#include "fusionllm/util/error.hpp"

#include "zip_writer.hpp"

namespace fusionllm::test {
namespace {

using testing::Contains;
using testing::HasSubstr;

ImportedModel import_archive(const std::string& name) {
    return import_pt2(FUSIONLLM_ARCHIVES "/" + name + ".pt2");
}

std::set<std::string> targets_of(const OpGraph& graph) {
    std::set<std::string> targets;
    for (const Op& op : graph.ops()) {
        targets.insert(op.target);
    }
    return targets;
}

std::string in_quotes(const std::string& text) {
    return '"' + text + '"';
}

//! {"name": ..., "arg": {"as_tensor": {"name": ...}}}
std::string tensor_argument(const std::string& name,
                            const std::string& tensor) {
    return R"({"name": ")" + name + R"(", "arg": {"as_tensor": {"name": ")" +
           tensor + R"("}}})";
}

std::string node(const std::string& target,
                 const std::string& inputs,
                 const std::string& output) {
    const std::string metadata =
        R"({"stack_trace": "File \"net.py\", line 7, in forward\n    y = x",)"
        R"( "nn_module_stack": "a,body,b"})";
    return R"({"target": ")" + target + R"(", "inputs": [)" + inputs +
           R"(], "outputs": [{"as_tensor": {"name": ")" + output +
           R"("}}], "metadata": )" + metadata + "}";
}

//! A newer archive of a graph without weights from x f32[4] to a loss.
std::string make_archive(const std::vector<std::string>& nodes) {
    std::string list;
    for (const std::string& text : nodes) {
        list += (list.empty() ? "" : ", ") + text;
    }
    std::string tensors;
    for (const char* name : {"x", "a", "b", "c"}) {
        tensors += in_quotes(name) +
                   R"(: {"dtype": 7, "sizes": [{"as_int": 4}], )"
                   R"("requires_grad": false}, )";
    }
    return make_zip(
        {{"net/models/net.json",
          R"({"graph_module": {"graph": {"nodes": [)" + list +
              R"(], "tensor_values": {)" + tensors +
              R"("loss": {"dtype": 7, "sizes": [], "requires_grad": true}}},
              "signature": {"input_specs": [{"user_input": {"arg":
              {"as_tensor": {"name": "x"}}}}], "output_specs": [{"user_output":
              {"arg": {"as_tensor": {"name": "loss"}}}}]}}})"},
         {"net/archive_format", "pt2"}});
}

ImportedModel import_nodes(const std::vector<std::string>& nodes) {
    const TemporaryFile file("fusionllm_import_test.pt2", make_archive(nodes));
    return import_pt2(file.path());
}

std::string error_of(const std::vector<std::string>& nodes) {
    try {
        import_nodes(nodes);
    } catch (const InputError& error) {
        return error.what();
    }
    return "";
}

const std::string sum_of_a =
    node("torch.ops.aten.sum.default", tensor_argument("self", "a"), "loss");

TEST(ImportPt2, parameters_buffers_and_inputs_have_the_names_of_the_model) {
    const ImportedModel model = import_archive("mlp");

    const GraphSignature& signature = model.graph.signature();
    ASSERT_EQ(signature.parameters.size(), 5);
    EXPECT_EQ(signature.parameters[0].name, "first.weight");
    EXPECT_EQ(model.graph.value(signature.parameters[0].value).type,
              (TensorType{DType::f32, {8, 5}}));
    // A parameter that needs no gradient is a buffer.
    ASSERT_EQ(signature.buffers.size(), 4);
    EXPECT_EQ(signature.buffers[0].name, "last.bias");
    EXPECT_EQ(signature.buffers[1].name, "norm.running_mean");
    ASSERT_EQ(signature.inputs.size(), 2);
    EXPECT_EQ(model.graph.value(signature.inputs[1]).name, "y");
    EXPECT_TRUE(signature.loss.has_value());
}

TEST(ImportPt2, both_layouts_give_the_same_graph_and_weights) {
    for (const char* name : {"mlp", "conv_net"}) {
        const ImportedModel old = import_archive(name);
        const ImportedModel other =
            import_archive(std::string(name) + "_layout2");

        EXPECT_EQ(old.graph.ops(), other.graph.ops()) << name;
        EXPECT_EQ(old.graph.signature(), other.graph.signature()) << name;
        ASSERT_EQ(old.weights.names(), other.weights.names()) << name;
        for (const Parameter& parameter : old.graph.signature().parameters) {
            EXPECT_EQ(old.weights.load(parameter.name),
                      other.weights.load(parameter.name))
                << parameter.name;
        }
    }
}

TEST(ImportPt2, shared_parameter_is_one_parameter_with_two_names) {
    const ImportedModel model = import_archive("gpt");

    EXPECT_EQ(
        model.shared_names,
        (std::map<std::string, std::string>{{"lm_head.weight", "wte.weight"}}));
    std::size_t uses = 0;
    for (const Parameter& parameter : model.graph.signature().parameters) {
        EXPECT_NE(parameter.name, "lm_head.weight");
        if (parameter.name == "wte.weight") {
            uses = model.graph.users(parameter.value).size();
        }
    }
    EXPECT_EQ(uses, 2);
}

TEST(ImportPt2, constants_are_buffers_with_their_values) {
    const ImportedModel model = import_archive("gpt");

    const HostTensor positions = model.weights.load("positions");

    ASSERT_EQ(positions.type, (TensorType{DType::i64, {6}}));
    std::int64_t last = 0;
    std::memcpy(&last, &positions.bytes[5 * sizeof last], sizeof last);
    EXPECT_EQ(last, 5);
}

TEST(ImportPt2, ops_are_named_after_their_modules) {
    const ImportedModel model = import_archive("gpt");

    std::set<std::string> names;
    for (const Op& op : model.graph.ops()) {
        names.insert(op.name);
    }
    EXPECT_TRUE(names.contains("h.0.c_attn.linear"));
    EXPECT_TRUE(names.contains("ln_f.layer_norm_2"));
}

TEST(ImportPt2, graph_survives_its_text_form) {
    for (const char* name : {"gpt", "conv_net", "two_inputs", "recurrent"}) {
        const OpGraph graph = import_archive(name).graph;

        EXPECT_EQ(parse_graph(to_text(graph)), graph) << name;
    }
}

TEST(ImportPt2, no_op_depends_on_strides_or_on_a_new_libtorch) {
    for (const char* name : {"gpt", "two_inputs", "activations"}) {
        for (const std::string& target :
             targets_of(import_archive(name).graph)) {
            EXPECT_NE(target, "aten::view") << name;
            EXPECT_NE(target, "aten::scaled_dot_product_attention") << name;
            EXPECT_FALSE(target.ends_with('_')) << target;
        }
    }
}

TEST(ImportPt2, counters_of_batch_norms_are_set_down) {
    const std::map<std::string, std::int64_t> counters{
        {"norm.num_batches_tracked", 1}};

    EXPECT_EQ(import_archive("mlp").counters, counters);
    EXPECT_EQ(import_archive("mlp_layout2").counters, counters);
    EXPECT_TRUE(import_archive("gpt").counters.empty());
}

TEST(ImportPt2, change_in_place_becomes_a_new_value) {
    const ImportedModel model = import_nodes(
        {node("torch.ops.aten.relu.default", tensor_argument("self", "x"), "a"),
         node(
             "torch.ops.aten.tanh_.default", tensor_argument("self", "a"), "b"),
         sum_of_a});

    EXPECT_EQ(targets_of(model.graph),
              (std::set<std::string>{"aten::relu", "aten::tanh", "aten::sum"}));
    // The name before the change means the changed tensor from then on.
    const auto loss = model.graph.producer(*model.graph.signature().loss);
    const ValueId summed = used_values(model.graph.op(*loss)).front();
    EXPECT_EQ(model.graph.op(*model.graph.producer(summed)).target,
              "aten::tanh");
}

TEST(ImportPt2, change_that_is_seen_through_a_view_is_refused) {
    const std::string error = error_of(
        {node("torch.ops.aten.relu.default", tensor_argument("self", "x"), "a"),
         node(
             "torch.ops.aten.alias.default", tensor_argument("self", "a"), "b"),
         node(
             "torch.ops.aten.tanh_.default", tensor_argument("self", "b"), "c"),
         sum_of_a});

    EXPECT_THAT(error, HasSubstr("view"));
    EXPECT_THAT(error, HasSubstr("net.py"));
}

TEST(ImportPt2, activation_is_detached_in_place_and_a_constant_need_not_be) {
    const auto detached = [](const std::string& maker) {
        return targets_of(
            import_nodes({node(maker, tensor_argument("self", "x"), "a"),
                          node("torch.ops.aten.detach_.default",
                               tensor_argument("self", "a"),
                               "b"),
                          sum_of_a})
                .graph);
    };

    EXPECT_THAT(detached("torch.ops.aten.relu.default"),
                Contains("aten::detach"));
    EXPECT_THAT(detached("torch.ops.aten.lift_fresh_copy.default"),
                testing::Not(Contains("aten::detach")));
}

TEST(ImportPt2, call_with_out_is_refused) {
    EXPECT_THAT(
        error_of({node("torch.ops.aten.relu.default",
                       tensor_argument("self", "x"),
                       "a"),
                  node("torch.ops.aten.tanh.out",
                       tensor_argument("self", "x") + ", " +
                           tensor_argument("out", "a"),
                       "b"),
                  sum_of_a}),
        HasSubstr("writes into the tensor 'a' (File \"net.py\", line 7"));
}

TEST(ImportPt2, change_of_an_input_is_refused) {
    EXPECT_THAT(error_of({node("torch.ops.aten.relu_.default",
                               tensor_argument("self", "x"),
                               "a"),
                          sum_of_a}),
                HasSubstr("input or parameter 'x'"));
}

TEST(ImportPt2, operator_of_others_is_refused_with_its_source_line) {
    const std::string error = error_of(
        {node("torch.ops.mine.gelu.default", tensor_argument("self", "x"), "a"),
         sum_of_a});

    EXPECT_THAT(error, HasSubstr("torch.ops.mine.gelu.default"));
    EXPECT_THAT(error, HasSubstr("line 7"));
}

TEST(ImportPt2, part_without_gradients_is_refused_with_what_to_write) {
    const std::string error =
        error_of({node("torch.ops.higher_order.wrap_with_set_grad_enabled",
                       tensor_argument("enabled", "x"),
                       "a"),
                  sum_of_a});

    EXPECT_THAT(error, HasSubstr("torch.no_grad()"));
    EXPECT_THAT(error, HasSubstr("line 7"));
    EXPECT_THAT(error, HasSubstr("write x.detach()"));
}

TEST(ImportPt2, dropout_becomes_our_mask) {
    const ImportedModel model =
        import_nodes({node("torch.ops.aten.dropout.default",
                           tensor_argument("input", "x") +
                               R"(, {"name": "p", "arg": {"as_float": 0.25}},
                      {"name": "train", "arg": {"as_bool": true}})",
                           "a"),
                      sum_of_a});

    EXPECT_EQ(targets_of(model.graph),
              (std::set<std::string>{
                  "fusionllm::dropout_mask", "aten::mul", "aten::sum"}));
}

TEST(ImportPt2, argument_behind_a_gap_gets_its_place) {
    const ImportedModel model = import_nodes(
        {node("torch.ops.aten.relu.default", tensor_argument("self", "x"), "a"),
         node("torch.ops.aten.add.Tensor",
              tensor_argument("self", "a") + ", " +
                  tensor_argument("other", "x") +
                  R"(, {"name": "alpha", "arg": {"as_int": 3}})",
              "b"),
         node("torch.ops.aten.sum.dim_IntList",
              tensor_argument("self", "b") +
                  R"(, {"name": "dim", "arg": {"as_ints": [0]}},
                     {"name": "dtype", "arg": {"as_scalar_type": 7}})",
              "loss")});

    const auto loss = model.graph.producer(*model.graph.signature().loss);
    const Op& sum = model.graph.op(*loss);
    ASSERT_EQ(sum.arguments.size(), 4);
    EXPECT_EQ(sum.arguments[2], Argument(false));
    EXPECT_EQ(sum.arguments[3], Argument(DType::f32));
}

TEST(ImportPt2, size_that_is_not_fixed_is_refused) {
    EXPECT_THAT(error_of({node("torch.ops.aten.narrow.default",
                               tensor_argument("self", "x") +
                                   R"(, {"name": "dim", "arg": {"as_sym_int":
                                      {"as_name": "s0"}}})",
                               "a"),
                          sum_of_a}),
                HasSubstr("not fixed"));
}

TEST(ImportPt2, unused_input_is_noted) {
    const ImportedModel model =
        import_nodes({node("torch.ops.aten.zeros.default",
                           R"({"name": "size", "arg": {"as_ints": [4]}})",
                           "a"),
                      sum_of_a});

    EXPECT_THAT(model.notes, Contains(HasSubstr("'x' is not used")));
}

}  // namespace
}  // namespace fusionllm::test
