#include "fusionllm/graph/resnet.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "fusionllm/graph/slice.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

OpGraph make(std::int64_t depth) {
    return make_resnet({.depth = depth}, 1);
}

std::int64_t count_parameters(const OpGraph& graph) {
    std::int64_t count = 0;
    for (const Parameter& parameter : graph.signature().parameters) {
        count += num_elements(graph.value(parameter.value).type);
    }
    return count;
}

//! Type of the value, parameter or buffer with the name.
std::string type_of(const OpGraph& graph, const std::string& name) {
    const auto found = std::ranges::find(graph.values(), name, &Value::name);
    return found == graph.values().end() ? "none" : to_text(found->type);
}

//! What crosses the cut behind an op.
std::vector<Value> behind(const OpGraph& graph, const std::string& op) {
    const auto found = std::ranges::find(graph.ops(), op, &Op::name);
    std::vector<Value> values;
    for (const ValueId id : values_across(
             graph,
             static_cast<std::size_t>(found - graph.ops().begin()) + 1)) {
        values.push_back(graph.value(id));
    }
    return values;
}

TEST(Resnet, has_as_many_parameters_as_torchvisions_models) {
    const std::map<std::int64_t, std::int64_t> published{{18, 11'689'512},
                                                         {34, 21'797'672},
                                                         {50, 25'557'032},
                                                         {101, 44'549'160},
                                                         {152, 60'192'808}};

    for (const auto& [depth, count] : published) {
        EXPECT_EQ(count_parameters(make(depth)), count) << depth;
    }
}

TEST(Resnet, has_as_many_convolutions_as_its_name_says) {
    for (const std::int64_t depth : {18, 34, 50, 101, 152}) {
        const OpGraph graph = make(depth);
        std::int64_t num_layers = 1;  // the last one is linear
        for (const Op& op : graph.ops()) {
            num_layers += op.target == "aten::convolution" &&
                          op.name.find("downsample") == std::string::npos;
        }
        EXPECT_EQ(num_layers, depth);
    }
}

TEST(Resnet, has_torchvisions_names_and_shapes) {
    const OpGraph basic = make(18);
    const OpGraph deep = make(101);

    EXPECT_EQ(type_of(deep, "conv1.weight"), "f32[64,3,7,7]");
    EXPECT_EQ(type_of(deep, "bn1.running_var"), "f32[64]");
    EXPECT_EQ(type_of(deep, "layer1.0.conv1.weight"), "f32[64,64,1,1]");
    EXPECT_EQ(type_of(deep, "layer1.0.downsample.0.weight"), "f32[256,64,1,1]");
    EXPECT_EQ(type_of(deep, "layer1.1.downsample.0.weight"), "none");
    EXPECT_EQ(type_of(deep, "layer3.22.conv2.weight"), "f32[256,256,3,3]");
    EXPECT_EQ(type_of(deep, "layer4.2.bn3.running_mean"), "f32[2048]");
    EXPECT_EQ(type_of(deep, "fc.weight"), "f32[1000,2048]");
    EXPECT_EQ(type_of(basic, "layer1.0.downsample.0.weight"), "none");
    EXPECT_EQ(type_of(basic, "layer2.0.downsample.0.weight"),
              "f32[128,64,1,1]");
    EXPECT_EQ(type_of(basic, "layer4.1.conv2.weight"), "f32[512,512,3,3]");
    EXPECT_EQ(type_of(basic, "fc.weight"), "f32[1000,512]");
}

TEST(Resnet, strides_in_the_middle_of_a_bottleneck) {
    const OpGraph graph = make(50);

    EXPECT_EQ(type_of(graph, "layer2.0.conv1"), "f32[1,128,56,56]");
    EXPECT_EQ(type_of(graph, "layer2.0.conv2"), "f32[1,128,28,28]");
    EXPECT_EQ(type_of(graph, "layer2.0.downsample.0"), "f32[1,512,28,28]");
}

TEST(Resnet, sends_what_the_published_shapes_weigh_between_its_layers) {
    const std::map<std::string, std::size_t> bytes_an_image{
        {"maxpool", 802'816},          // 0.80 MB
        {"layer1.2.relu", 3'211'264},  // 3.21 MB
        {"layer2.3.relu", 1'605'632},  // 1.61 MB
        {"layer3.22.relu", 802'816},   // 0.80 MB
        {"layer4.2.relu", 401'408}};   // 0.40 MB
    const OpGraph graph = make_resnet({.depth = 101}, 3);

    for (const auto& [op, bytes] : bytes_an_image) {
        const auto values = behind(graph, op);
        ASSERT_EQ(values.size(), 1u) << op;
        EXPECT_EQ(values[0].name, op);
        EXPECT_EQ(num_bytes(values[0].type), 3 * bytes) << op;
    }
}

TEST(Resnet, sends_one_value_between_any_two_blocks) {
    for (const std::int64_t depth : {18, 152}) {
        const OpGraph graph = make(depth);
        int num_blocks = 0;
        for (const Op& op : graph.ops()) {
            if (op.name.starts_with("layer") && op.name.ends_with(".relu")) {
                ++num_blocks;
                EXPECT_EQ(behind(graph, op.name).size(), 1u) << op.name;
            }
        }
        EXPECT_EQ(num_blocks, depth == 18 ? 8 : 50);
    }
}

TEST(Resnet, keeps_small_images_large_with_the_cifar_stem) {
    const OpGraph graph = make_resnet(
        {.depth = 18, .classes = 10, .image = 32, .stem = ResnetStem::cifar},
        2);

    EXPECT_EQ(type_of(graph, "conv1.weight"), "f32[64,3,3,3]");
    EXPECT_EQ(type_of(graph, "relu"), "f32[2,64,32,32]");
    EXPECT_EQ(type_of(graph, "maxpool"), "none");
    EXPECT_EQ(type_of(graph, "layer4.1.relu"), "f32[2,512,4,4]");
    EXPECT_EQ(type_of(graph, "logits"), "f32[2,10]");
    EXPECT_EQ(count_parameters(graph), 11'173'962);
}

TEST(Resnet, has_labels_last_and_logits_and_a_loss) {
    const OpGraph graph = make_resnet({.depth = 18}, 4);
    const GraphSignature& signature = graph.signature();

    ASSERT_EQ(signature.inputs.size(), 2u);
    EXPECT_EQ(signature.num_labels, 1u);
    EXPECT_EQ(type_of(graph, "image"), "f32[4,3,224,224]");
    EXPECT_EQ(type_of(graph, "labels"), "i64[4]");
    EXPECT_EQ(graph.value(signature.output.value()).name, "logits");
    EXPECT_EQ(graph.value(signature.loss.value()).name, "loss");
}

TEST(Resnet, trains_its_parameters_and_not_its_running_statistics) {
    const OpGraph graph = make(18);

    EXPECT_EQ(graph.signature().buffers.size(), 2u * 20);
    for (const Parameter& parameter : graph.signature().parameters) {
        EXPECT_TRUE(graph.has_gradient(parameter.value)) << parameter.name;
    }
    for (const ModelBuffer& buffer : graph.signature().buffers) {
        EXPECT_FALSE(graph.has_gradient(buffer.value)) << buffer.name;
        EXPECT_EQ(buffer.initializer.kind,
                  buffer.name.ends_with("running_var")
                      ? Initializer::Kind::ones
                      : Initializer::Kind::zeros);
    }
}

TEST(Resnet, starts_convolutions_by_their_fan_out) {
    const OpGraph graph = make(18);

    const auto& first = graph.signature().parameters.front();

    EXPECT_EQ(first.name, "conv1.weight");
    EXPECT_EQ(first.initializer,
              (Initializer{Initializer::Kind::normal,
                           std::sqrt(2.0 / (64 * 7 * 7))}));
}

TEST(Resnet, evaluates_with_its_running_statistics) {
    const OpGraph graph = evaluation_form(make(18));

    int num_norms = 0;
    for (const Op& op : graph.ops()) {
        if (op.target == "aten::batch_norm") {
            ++num_norms;
            EXPECT_EQ(op.arguments[5], Argument(false)) << op.name;
        }
    }
    EXPECT_EQ(num_norms, 20);
    EXPECT_EQ(graph.signature().buffers.size(), 40u);
}

TEST(Resnet, has_a_text_form) {
    const OpGraph graph = make(50);

    EXPECT_EQ(parse_graph(to_text(graph)), graph);
}

TEST(Resnet, refuses_sizes_that_there_are_not) {
    EXPECT_THROW(make(20), InputError);
    EXPECT_THROW(make_resnet({.classes = 0}, 1), InputError);
    EXPECT_THROW(make_resnet({.image = 0}, 1), InputError);
    EXPECT_THROW(make_resnet({}, 0), InputError);
    EXPECT_EQ(parse_resnet_size("resnet101"), 101);
    try {
        parse_resnet_size("resnet110");
        FAIL() << "no error";
    } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find("did you mean 'resnet101'"),
                  std::string::npos)
            << error.what();
    }
}

}  // namespace
}  // namespace fusionllm::test
