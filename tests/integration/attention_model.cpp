// Writes a model file whose graph calls an operator that LibTorch 1.13 lacks
// and that can be decomposed. The importers write such operators as their
// parts, so no archive becomes one.

#include <cstdio>
#include <cstring>

#include "fusionllm/graph/op_graph.hpp"

#include "app/model_file.hpp"

namespace fusionllm {
namespace {

constexpr const char* graph_text = R"(graph attention
input %tokens i64[2,6]
label %labels i64[2,6]
parameter wte %wte f32[17,8] zeros decay
%x f32[2,6,8] = embed aten::embedding(%wte, %tokens)
%n f32[2,6,8] = norm aten::rms_norm(%x, [8], None, 0.00001)
%h f32[2,1,6,8] = heads aten::unsqueeze(%n, 1)
%a f32[2,1,6,8] = attn aten::scaled_dot_product_attention(%h, %h, %h, None, 0.0, true)
%y f32[2,6,8] = sum aten::add.Tensor(%x, %n)
%b f32[2,6,8] = whole aten::squeeze.dim(%a, 1)
%z f32[2,6,8] = skip aten::add.Tensor(%y, %b)
%flat f32[12,8] = flat aten::reshape(%z, [12, 8])
%logits f32[12,17] = head aten::linear(%flat, %wte)
%target i64[12] = target aten::reshape(%labels, [12])
%loss f32[] = loss aten::cross_entropy_loss(%logits, %target)
loss %loss
)";

//! Different numbers, none of them large.
HostTensor make_weight(const TensorType& type) {
    HostTensor tensor{type, {}};
    tensor.bytes.resize(num_bytes(type));
    for (std::size_t i = 0; i < tensor.bytes.size() / sizeof(float); ++i) {
        const float number = static_cast<float>((i * 37) % 101) / 100 - 0.5F;
        std::memcpy(&tensor.bytes[i * sizeof(float)], &number, sizeof(float));
    }
    return tensor;
}

void write(const char* file) {
    const OpGraph graph = parse_graph(graph_text);
    const TensorType type =
        graph.value(graph.signature().parameters.front().value).type;
    write_as_model_file(
        file,
        {graph, {}, {"wte"}, {}, {}},
        {[&](const std::string&) { return type; },
         [&](const std::string&) { return make_weight(type); }});
}

}  // namespace
}  // namespace fusionllm

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: attention_model FILE.h5\n");
        return 2;
    }
    fusionllm::write(argv[1]);
    return 0;
}
