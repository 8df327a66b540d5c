#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "torchscript_fixture.hpp"

namespace fusionllm::test {
namespace {

using testing::Contains;
using testing::HasSubstr;

class ImportInPlace : public ImportTorchScript {};

TEST_F(ImportInPlace, refuses_changes_that_are_seen_through_views) {
    for (const char* view : {"torch.mT(h)",
                             "torch.ravel(h)",
                             "torch.linalg_diagonal(h)",
                             "torch.unsafe_chunk(h, 2, 1)[0]",
                             "torch.alpha_dropout(h, 0.5, False)"}) {
        EXPECT_THAT(refusal("    h = torch.relu(x)\n"
                            "    a = torch.mul_(" +
                            std::string(view) +
                            ", 2.)\n"
                            "    return torch.neg(h)\n"),
                    HasSubstr("'h' may be a view of the same memory"))
            << view;
    }
    EXPECT_THAT(refusal("    h = torch.relu(x)\n"
                        "    a = torch.mul_(torch.ravel(h), 2.)\n"
                        "    return (torch.sum(x), h)\n"),
                HasSubstr("that the model gives back later"));
}

TEST_F(ImportInPlace, makes_new_tensors_for_changes_in_place) {
    const auto changed = [&](const std::string& change) {
        return operators_of(import_body("    h = torch.neg(x)\n"
                                        "    a = torch." +
                                        change + "\n    return a\n")
                                .graph);
    };

    EXPECT_THAT(changed("normal_(h)"), Contains("aten::normal_functional."));
    EXPECT_THAT(changed("bernoulli_(h, 0.25)"), Contains("aten::bernoulli.p"));
    EXPECT_THAT(changed("pow_(h, x)"), Contains("aten::pow.Tensor_Tensor"));
    EXPECT_THAT(changed("copy_(h, 2.)"), Contains("aten::copy."));
    EXPECT_EQ(output_of("    h = torch.neg(x)\n"
                        "    return torch.unsqueeze_(torch.t_(h), 0)\n"),
              (TensorType{DType::f32, {1, 6, 2}}));
    EXPECT_EQ(output_of("    h = torch.gt(x, 0)\n"
                        "    return torch.__iand__(h, torch.lt(x, 2))\n"),
              (TensorType{DType::boolean, {2, 6}}));
    EXPECT_THAT(refusal("    return torch.fill_diagonal_(torch.neg(x), 1.)\n"),
                testing::AllOf(HasSubstr("no operator that makes a new tensor"),
                               HasSubstr("line 7")));
}

TEST_F(ImportInPlace, copies_results_to_where_out_says) {
    const std::string zeros = "    h = torch.zeros_like(x)\n";
    const OpGraph graph = import_body(zeros +
                                      "    a = torch.div(x, 2., out=h)\n"
                                      "    return a\n")
                              .graph;

    EXPECT_THAT(operators_of(graph),
                testing::UnorderedElementsAre(
                    "aten::zeros_like.", "aten::div.Scalar", "aten::copy."));
    EXPECT_THAT(
        refusal(zeros + "    a = torch.div(x, 2., out=torch.select(h, 0, 0))\n"
                        "    return a\n"),
        HasSubstr("other sizes than what aten::div makes"));
}

TEST_F(ImportInPlace, refuses_changes_of_what_the_model_keeps) {
    const auto refusal_of = [&](const std::string& statement) {
        ZipContents contents = contents_of("mlp");
        for (auto& [name, text] : contents) {
            const std::size_t line = text.find("    input = torch.batch_norm");
            if (name.ends_with("batchnorm.py") && line != text.npos) {
                text.insert(line, statement);
            }
        }
        return message_of<InputError>([&] { import(contents, {}); });
    };

    EXPECT_EQ(refusal_of(""), "");
    EXPECT_THAT(refusal_of("    u = torch.mul(running_var, 2., "
                           "out=running_mean)\n"),
                testing::AllOf(HasSubstr("changes the buffer "
                                         "'norm.running_mean'"),
                               HasSubstr("out=running_mean")));
    EXPECT_THAT(refusal_of("    running_mean = torch.mul_(torch.view("
                           "running_mean, [8]), 2.)\n"),
                HasSubstr("a view of the model's parameter or buffer "
                          "'norm.running_mean'"));
}

TEST_F(ImportInPlace, takes_changes_of_parts_that_are_apart) {
    const std::string parts =
        "    h = torch.relu(x)\n"
        "    a, b, = torch.unsafe_chunk(h, 2, 1)\n"
        "    c = torch.mul_(torch.ravel(a), 2.)\n";

    EXPECT_EQ(import_body(parts + "    return torch.neg(b)\n")
                  .graph.signature()
                  .output.has_value(),
              true);
    for (const char* seen : {"a", "h", "torch.neg(torch.view(h, [12]))"}) {
        EXPECT_THAT(refusal(parts + "    return torch.neg(" +
                            std::string(seen) + ")\n"),
                    HasSubstr("may be a view of the same memory"))
            << seen;
    }
}

TEST_F(ImportInPlace, takes_changes_by_a_tensor_that_is_read_again) {
    const OpGraph graph = import_body(
                              "    h = torch.add_(torch.neg(x), x)\n"
                              "    g = torch.relu_(torch.expand_as(h, x))\n"
                              "    return torch.add(g, x)\n")
                              .graph;

    EXPECT_EQ(graph.ops().size(), 5u);
}

}  // namespace
}  // namespace fusionllm::test
