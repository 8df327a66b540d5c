#include "app/model.hpp"

#include <gtest/gtest.h>

#include "fusionllm/graph/restart.hpp"
#include "fusionllm/util/error.hpp"

#include "message_of.hpp"
#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

RunInput parse(const std::string& model,
               const std::vector<std::string>& overrides) {
    return parse_run_input("[data]\nkind = 'synthetic'\n[model]\n" + model,
                           "/inputs/x.toml",
                           overrides);
}

std::string error_of(const std::string& model) {
    return message_of<InputError>([&] { parse(model, {}); });
}

TEST(Model, of_a_published_size_has_its_keys) {
    const RunInput input = parse("size = 'gpt2-xl'", {});

    EXPECT_EQ(input.model, published_gpt2("gpt2-xl"));
    EXPECT_EQ(parse_run_input(to_toml(input), "/y.toml", {}), input);
}

TEST(Model, keeps_keys_that_are_given_beside_a_size) {
    const RunInput input =
        parse("size = 'gpt2-medium'\ncontext = 256\ndropout = 0.1", {});

    EXPECT_EQ(input.model.context, 256);
    EXPECT_EQ(input.model.dropout, 0.1);
    EXPECT_EQ(input.model.layers, 24);
    EXPECT_EQ(parse_run_input(to_toml(input), "/y.toml", {}), input);
}

TEST(Model, takes_a_size_that_is_set_before_the_keys_of_the_file) {
    const RunInput input =
        parse("layers = 2\ncontext = 64",
              {"model.size=gpt2-large", "model.context=512"});

    EXPECT_EQ(input.model.layers, 36);
    EXPECT_EQ(input.model.context, 512);
}

TEST(Model, is_built_for_micro_batches) {
    const OpGraph gpt2 = make_model(parse("layers = 1",
                                          {"train.batch=6",
                                           "train.micro_batches="
                                           "2"}),
                                    {});
    const OpGraph resnet =
        make_model(parse("kind = 'resnet'\nsize = 'resnet34'\nclasses = 10\n"
                         "image = 32\nstem = 'cifar'",
                         {}),
                   {});

    EXPECT_EQ(to_text(gpt2.value(gpt2.signature().inputs[0]).type),
              "i64[3,128]");
    EXPECT_EQ(resnet,
              make_resnet({.depth = 34,
                           .classes = 10,
                           .image = 32,
                           .stem = ResnetStem::cifar},
                          8));
}

TEST(Model, starts_again_after_a_cut) {
    const auto make = [](const std::string& restart) {
        return make_model(parse("layers = 3",
                                {"compression.rule=cut",
                                 "compression.cut_after=h.1",
                                 "compression.restart=" + restart}),
                          {});
    };

    const OpGraph whole = make_model(parse("layers = 3", {}), {});

    EXPECT_EQ(
        make("embedding"),
        restart_at(whole, find_cut(whole, "h.1"), RestartKind::embedding));
    EXPECT_EQ(make("zeros"),
              restart_at(whole, find_cut(whole, "h.1"), RestartKind::zeros));
}

TEST(Model, says_where_it_cannot_be_cut) {
    const RunInput input = parse(
        "layers = 3", {"compression.rule=cut", "compression.cut_after=h.3"});

    EXPECT_EQ(message_of<InputError>([&] { make_model(input, {}); }),
              "'cut_after' = \"h.3\" in [compression], of rule = \"cut\": "
              "the graph 'gpt2' has no op 'h.3', nor ops that begin with "
              "'h.3.'");
}

TEST(Model, of_images_needs_no_text) {
    EXPECT_NO_THROW(parse_run_input(
        "[model]\nkind = 'resnet'\nsize = 'resnet18'", "/x.toml", {}));
}

TEST(Model, of_images_round_trips_through_the_resolved_input) {
    const RunInput input =
        parse("kind = 'resnet'\nsize = 'resnet152'\nimage = 64", {});

    EXPECT_EQ(input.resnet.depth, 152);
    EXPECT_EQ(parse_run_input(to_toml(input), "/y.toml", {}), input);
}

TEST(Model, says_what_is_wrong_with_its_size) {
    const struct {
        std::string model, expected;
    } cases[] = {
        {"size = 'gpt2-xll'",
         "/inputs/x.toml:4: 'size' in [model]: there is no GPT-2 of size "
         "'gpt2-xll'; did you mean 'gpt2-xl'?; the sizes are gpt2, "
         "gpt2-medium, gpt2-large, gpt2-xl"},
        {"size = 'resnet50'",
         "/inputs/x.toml:4: 'size' in [model]: there is no GPT-2 of size "
         "'resnet50'; the sizes are gpt2, gpt2-medium, gpt2-large, gpt2-xl; "
         "it is one of kind = \"resnet\""},
        {"kind = 'resnet'\nsize = 'gpt2'",
         "/inputs/x.toml:5: 'size' in [model]: there is no ResNet of size "
         "'gpt2'; the sizes are resnet18, resnet34, resnet50, resnet101, "
         "resnet152; it is one of kind = \"gpt2\""},
        {"kind = 'resnet'",
         "/inputs/x.toml: 'size' in [model] is missing for kind = "
         "\"resnet\"; give one of resnet18, resnet34, resnet50, resnet101, "
         "resnet152"},
        {"kind = 'resnet'\nsize = 'resnet18'\nheads = 2",
         "/inputs/x.toml:6: 'heads' in [model] has no effect with kind = "
         "\"resnet\"; leave it out"},
        {"image = 32",
         "/inputs/x.toml:4: 'image' in [model] has no effect with kind = "
         "\"gpt2\"; leave it out"},
        {"kind = 'resnet'\nsize = 'resnet18'\nstem = 'imagnet'",
         "/inputs/x.toml:6: 'stem' in [model] must be \"imagenet\" or "
         "\"cifar\", not \"imagnet\""},
    };

    for (const auto& [model, expected] : cases) {
        EXPECT_EQ(error_of(model), expected);
    }
}

}  // namespace
}  // namespace fusionllm::test
