#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "numbers.hpp"
#include "torchscript_fixture.hpp"

namespace fusionllm::test {
namespace {

using testing::Contains;
using testing::HasSubstr;
using namespace std::string_literals;
using Types = std::vector<TensorType>;

TEST_F(ImportTorchScript, names_parameters_as_the_model_does) {
    const ImportedModel model =
        import_torchscript(FUSIONLLM_ARCHIVES "/encoder.pt", {});

    std::vector<std::string> names;
    for (const Parameter& parameter : model.graph.signature().parameters) {
        names.push_back(parameter.name);
    }
    EXPECT_THAT(names, Contains("embed.weight"));
    EXPECT_THAT(names, Contains("blocks.1.self_attn.in_proj_weight"));
    EXPECT_EQ(model.graph.signature().inputs.size(), 2u);
    EXPECT_TRUE(model.graph.signature().loss.has_value());
}

TEST_F(ImportTorchScript, takes_sizes_for_another_micro_batch) {
    const ImportedModel model =
        import_torchscript(FUSIONLLM_ARCHIVES "/encoder.pt",
                           {{DType::i64, {5, 6}}, {DType::i64, {5, 6}}});

    const ValueId output = model.graph.signature().output.value();
    EXPECT_EQ(model.graph.value(output).type,
              (TensorType{DType::f32, {5, 6, 11}}));
}

TEST_F(ImportTorchScript, computes_with_sizes) {
    EXPECT_EQ(output_of("    _0 = ops.prim.NumToTensor(torch.size(x, 1))\n"
                        "    _1 = torch.floor_divide(_0, 4)\n"
                        "    n = torch.mul(_1, 3)\n"
                        "    return torch.view(x, [int(n), -1, 1])\n"),
              (TensorType{DType::f32, {3, 4, 1}}));
}

TEST_F(ImportTorchScript, divides_sizes_as_python_does) {
    const auto shift = [&](const std::string& quotient) {
        const OpGraph graph =
            import_body(
                "    n = ops.prim.NumToTensor(torch.size(x, 1))\n"
                "    m = torch.neg(torch.add(n, 1))\n"
                "    return torch.add(x, int(" +
                quotient + "))\n")
                .graph;
        return std::get<std::int64_t>(graph.ops().at(0).arguments.at(1));
    };

    EXPECT_EQ(shift("torch.floor_divide(m, 2)"), -4);
    EXPECT_EQ(shift("torch.div(m, 2, rounding_mode=\"floor\")"), -4);
    EXPECT_EQ(shift("torch.div(m, 2, rounding_mode=\"trunc\")"), -3);
    EXPECT_EQ(shift("torch.remainder(m, 4)"), 1);
    EXPECT_EQ(shift("torch.div(n, 4)"), 1);
    EXPECT_EQ(shift("torch.rsub(n, 4)"), -2);
    EXPECT_EQ(shift("torch.sub(torch.mul(n, 2), 5)"), 7);
}

TEST_F(ImportTorchScript, chooses_among_operators_of_one_name) {
    const ImportedModel model = import_body(
        "    a = torch.add(x, 1)\n"
        "    b = torch.sum(torch.add(a, x), [1], True)\n"
        "    c, d, = torch.max(b, 0)\n"
        "    return torch.select(c, 0, 0)\n");

    const auto targets = operators_of(model.graph);
    EXPECT_THAT(targets, Contains("aten::add.Scalar"));
    EXPECT_THAT(targets, Contains("aten::add.Tensor"));
    EXPECT_THAT(targets, Contains("aten::sum.dim_IntList"));
    EXPECT_THAT(targets, Contains("aten::max.dim"));
}

TEST_F(ImportTorchScript, finds_sizes_of_what_zeros_cannot_be_given_to) {
    EXPECT_EQ(output_of("    p = torch.softmax(x, 1)\n"
                        "    return torch.multinomial(p, 3)\n"),
              (TensorType{DType::i64, {2, 3}}));
    EXPECT_EQ(
        output_of("    a = torch.mm(x, torch.t(x))\n"
                  "    return torch.cholesky_inverse(torch.linalg_cholesky(a))"
                  "\n"),
        (TensorType{DType::f32, {2, 2}}));
}

TEST_F(ImportTorchScript, makes_tensors_of_known_numbers_in_lists) {
    const OpGraph graph =
        import_body(
            "    a, b, = torch.broadcast_tensors([x, torch.detach(0.5)])\n"
            "    return torch.mul(a, b)\n")
            .graph;

    EXPECT_THAT(operators_of(graph), Contains("aten::broadcast_tensors."));
    EXPECT_EQ(graph.value(graph.signature().output.value()).type,
              (TensorType{DType::f32, {2, 6}}));
    EXPECT_EQ(output_of("    s = torch.stack([0.5, 1.])\n"
                        "    return torch.sum(torch.mul(x, 2.), [0]), s\n"),
              (TensorType{DType::f32, {6}}));
    EXPECT_THAT(refusal("    return torch.broadcast_tensors(x)\n"),
                HasSubstr("aten::broadcast_tensors of this LibTorch takes no "
                          "such arguments"));
}

TEST_F(ImportTorchScript, makes_dropout_in_place_our_mask) {
    const OpGraph graph = import_body(
                              "    y = torch.relu(x)\n"
                              "    z = torch.dropout_(y, 0.25, True)\n"
                              "    return torch.neg(z)\n")
                              .graph;

    EXPECT_TRUE(std::ranges::any_of(graph.ops(), [](const Op& op) {
        return op.target == "fusionllm::dropout_mask";
    }));
}

TEST_F(ImportTorchScript, calls_functions_and_other_methods_of_the_archive) {
    ZipContents contents =
        archive_of("    return (self).forward1(__torch__.a.f(x, ), )\n");
    contents[1].second +=
        "  def forward1(self: __torch__.Net,\n"
        "    y: Tensor) -> Tensor:\n"
        "    return torch.unsqueeze(y, 0)\n";
    contents.emplace_back("m/code/__torch__/a.py",
                          "def f(y: Tensor) -> Tensor:\n"
                          "  return torch.flatten(y, 0, -1)\n");

    const OpGraph graph = import(contents, {{DType::f32, {2, 6}}}).graph;

    EXPECT_EQ(graph.value(graph.signature().output.value()).type,
              (TensorType{DType::f32, {1, 12}}));
}

TEST_F(ImportTorchScript, refuses_control_flow_with_its_line) {
    EXPECT_THAT(
        refusal("    if bool(torch.gt(torch.sum(x), 0)):\n"
                "      y = x\n"
                "    else:\n"
                "      y = torch.neg(x)\n"
                "    return y\n"),
        testing::AllOf(HasSubstr("control flow"),
                       HasSubstr("code/__torch__.py, line 7: if bool")));
}

TEST_F(ImportTorchScript, refuses_numbers_that_depend_on_data) {
    EXPECT_THAT(refusal("    n = int(torch.sum(x))\n"
                        "    return torch.add(x, n)\n"),
                HasSubstr("a number depends on data"));
    EXPECT_THAT(refusal("    return torch.nonzero(x)\n"),
                HasSubstr("aten::nonzero makes depend on data"));
    EXPECT_THAT(refusal("    m = annotate(List[Optional[Tensor]], "
                        "[torch.gt(x, 0)])\n"
                        "    return torch.index(x, m)\n"),
                HasSubstr("aten::index makes depend on data"));
}

TEST_F(ImportTorchScript, refuses_what_is_no_operator_here) {
    EXPECT_THAT(refusal("    return torch.no_such_operator(x)\n"),
                HasSubstr("no operator aten::no_such_operator"));
    EXPECT_THAT(refusal("    return ops.mine.twice(x)\n"),
                HasSubstr("'ops.mine.twice' is no ATen operator"));
    EXPECT_THAT(refusal("    return torch.mm(x, x)\n"),
                HasSubstr("aten::mm cannot be called"));
    EXPECT_THAT(refusal("    return (x).forward()\n"),
                HasSubstr("asked of no module"));
    EXPECT_THAT(refusal("    return y\n"), HasSubstr("'y' is not known"));
    EXPECT_THAT(refusal("    return torch.add(x, \n"),
                HasSubstr("cannot be understood"));
}

TEST_F(ImportTorchScript, makes_the_same_graph_of_a_file_by_another_name) {
    const std::string bytes =
        make_zip(archive_of("    return torch.relu(x)\n"));
    const auto hash_of = [&](const std::string& name) {
        return graph_hash(import_torchscript(folder_.write(name, bytes),
                                             {{DType::f32, {2, 6}}})
                              .graph);
    };

    EXPECT_EQ(hash_of("model.pt"), hash_of("moved.pt"));
}

TEST_F(ImportTorchScript, asks_for_the_inputs_it_does_not_know) {
    const auto contents = archive_of("    return torch.relu(x)\n");

    EXPECT_THAT(message_of<InputError>([&] { import(contents, {}); }),
                HasSubstr("does not say what the model is given"));
    EXPECT_THAT(message_of<InputError>(
                    [&] { import(contents, Types(2, TensorType{})); }),
                HasSubstr("2 input types are given, but the model has 1"));
}

TEST_F(ImportTorchScript, ends_when_calls_do_not) {
    EXPECT_THAT(refusal("    return (self).forward(x, )\n"),
                HasSubstr("too deeply"));
    std::string nested = "x";
    for (int i = 0; i < 5000; ++i) {
        nested = "torch.relu(" + nested + ")";
    }
    EXPECT_THAT(refusal("    return " + nested + "\n"),
                HasSubstr("cannot be understood"));
}

TEST_F(ImportTorchScript, names_nothing_that_python_would_call) {
    ZipContents contents = archive_of("    return x\n");
    contents[0].second =
        "\x80\x02"
        "cposix\nsystem\nX\x04\x00\x00\x00true\x85R."s;

    EXPECT_THAT(message_of<InputError>([&] { import(contents, {}); }),
                HasSubstr("it names 'posix.system', which would run code"));
}

TEST_F(ImportTorchScript, state_dict_is_what_was_stored_beside_it) {
    ZipContents contents = contents_of("mlp");
    const auto import_with = [&](const std::string& names) {
        contents.emplace_back("m/extra/state_dict", names);
        const auto model = import(contents, {});
        contents.pop_back();
        return model;
    };

    const ImportedModel all =
        import_torchscript(FUSIONLLM_ARCHIVES "/mlp.pt", {});
    const ImportedModel some = import_with("first.weight\nnorm.bias\n");

    EXPECT_THAT(all.state_dict_names, Contains("norm.num_batches_tracked"));
    EXPECT_EQ(some.state_dict_names,
              (std::vector<std::string>{"first.weight", "norm.bias"}));
    EXPECT_EQ(
        all.counters,
        (std::map<std::string, std::int64_t>{{"norm.num_batches_tracked", 1}}));
    EXPECT_THAT(message_of<InputError>([&] { import_with("lost"); }),
                HasSubstr("has 'lost', but holds no such parameter or buffer"));
}

TEST_F(ImportTorchScript, is_no_other_archive) {
    EXPECT_THAT(message_of<InputError>([&] {
                    import_torchscript(FUSIONLLM_ARCHIVES "/mlp.pt2", {});
                }),
                HasSubstr("is no archive of torch.jit.save"));
}

class FuzzTorchScript : public ImportTorchScript {
protected:
    //! Change the entries that end so, and see a sentence or a model.
    int count_refused(const std::string& name,
                      const std::string& ending,
                      int count,
                      const std::function<void(std::string&)>& change) {
        const ZipContents whole = contents_of(name);
        int refused = 0;
        for (int i = 0; i < count; ++i) {
            ZipContents contents = whole;
            for (auto& [entry, bytes] : contents) {
                if (entry.ends_with(ending) && !bytes.empty()) {
                    change(bytes);
                }
            }
            try {
                import(contents, {});
            } catch (const InputError& error) {
                EXPECT_GT(std::string(error.what()).size(), 20u);
                ++refused;
            }
        }
        return refused;
    }
};

TEST_F(FuzzTorchScript, changed_code_gives_a_sentence) {
    Numbers numbers(1);
    constexpr std::string_view bytes = "()[],.=-:\n 01x\"'_";

    for (const char* name : {"mlp", "dense", "encoder"}) {
        EXPECT_GT(count_refused(name,
                                ".py",
                                150,
                                [&](std::string& text) {
                                    text[numbers.below(text.size())] =
                                        bytes[numbers.below(bytes.size())];
                                }),
                  30);
    }
}

TEST_F(FuzzTorchScript, changed_numbers_give_a_sentence) {
    Numbers numbers(2);
    constexpr std::array values{"-1",
                                "0",
                                "9223372036854775807",
                                "inf",
                                "1e308",
                                "-9223372036854775807",
                                "None",
                                "x",
                                "[]",
                                "True",
                                "2.5",
                                "4294967296"};

    count_refused("conv_net", ".py", 200, [&](std::string& text) {
        const std::size_t at =
            text.find_first_of("0123456789", numbers.below(text.size()));
        if (at != text.npos) {
            text.replace(at, 1, values[numbers.below(values.size())]);
        }
    });
}

TEST_F(FuzzTorchScript, changed_pickles_give_a_sentence) {
    Numbers numbers(3);

    for (const char* name : {"mlp", "two_inputs"}) {
        EXPECT_GT(count_refused(name,
                                ".pkl",
                                200,
                                [&](std::string& bytes) {
                                    bytes[numbers.below(bytes.size())] =
                                        static_cast<char>(numbers.below(256));
                                }),
                  50);
    }
}

}  // namespace
}  // namespace fusionllm::test
