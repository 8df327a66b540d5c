#include "fusionllm/graph/gpt2.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include <fmt/ranges.h>

#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm {
namespace {

// Shapes: B micro-batch, T context, C width, H heads, D = C/H, V vocabulary.

constexpr double init_scale = 0.02;
constexpr Initializer zeros{Initializer::Kind::zeros, 0};
constexpr Initializer ones{Initializer::Kind::ones, 0};

void check(const Gpt2Options& options, std::int64_t micro_batch) {
    FUSIONLLM_VALIDATE(micro_batch > 0,
                       "a GPT-2 needs micro-batches of at least 1 sample, not "
                       "{}",
                       micro_batch);
    FUSIONLLM_VALIDATE(options.layers > 0 && options.width > 0 &&
                           options.heads > 0 && options.context > 0 &&
                           options.vocabulary > 0,
                       "the sizes of a GPT-2 must be positive, not layers = "
                       "{}, width = {}, heads = {}, context = {}, vocabulary "
                       "= {}",
                       options.layers,
                       options.width,
                       options.heads,
                       options.context,
                       options.vocabulary);
    FUSIONLLM_VALIDATE(options.width % options.heads == 0,
                       "the width {} of a GPT-2 must be a multiple of its {} "
                       "heads; change one of them",
                       options.width,
                       options.heads);
    FUSIONLLM_VALIDATE(options.dropout >= 0 && options.dropout < 1,
                       "the dropout {} of a GPT-2 must be at least 0 and less "
                       "than 1; it is the part of elements set to zero",
                       options.dropout);
}

TensorType f32(std::vector<std::int64_t> sizes) {
    return {DType::f32, std::move(sizes)};
}

class Gpt2Builder {
public:
    Gpt2Builder(const Gpt2Options& options, std::int64_t micro_batch)
        : graph_("gpt2"), options_(options), micro_batch_(micro_batch) {}

    OpGraph build() {
        const TensorType ids{DType::i64, {micro_batch_, options_.context}};
        const ValueId tokens = graph_.add_input("tokens", ids);
        const ValueId labels = graph_.add_label("labels", ids);
        const ValueId wte =
            weight("wte", {options_.vocabulary, options_.width}, init_scale);
        ValueId x = embed(tokens, wte);
        for (std::int64_t layer = 0; layer < options_.layers; ++layer) {
            const std::string name = "h." + std::to_string(layer);
            x = attention(name, x);
            x = mlp(name, x);
        }
        add_head(layer_norm("ln_f", x), labels, wte);
        return graph_.build();
    }

private:
    ValueId weight(const std::string& name,
                   std::vector<std::int64_t> sizes,
                   double scale) {
        return graph_.add_parameter(name + ".weight",
                                    f32(std::move(sizes)),
                                    {Initializer::Kind::normal, scale});
    }

    //! (B, T) -> (B T, C)
    ValueId embed(ValueId tokens, ValueId wte) {
        const TensorType type =
            f32({micro_batch_, options_.context, options_.width});
        const ValueId wpe =
            weight("wpe", {options_.context, options_.width}, init_scale);
        const ValueId x =
            graph_.add_op("wte",
                          "aten::embedding",
                          {wte, tokens, std::int64_t{-1}, false, false},
                          type);
        const ValueId sum = graph_.add_op(
            "wpe", "aten::add.Tensor", {x, wpe, std::int64_t{1}}, type);
        return dropout("drop", view("wpe.flat", sum, flat(options_.width)));
    }

    //! One residual branch, added to x (B T, C).
    ValueId attention(const std::string& layer, ValueId x) {
        const std::int64_t C = options_.width;
        const std::string name = layer + ".attn";
        const ValueId qkv = dense(name + ".c_attn",
                                  layer_norm(layer + ".ln_1", x),
                                  3 * C,
                                  init_scale);
        const auto parts = graph_.add_op_with_outputs(
            name + ".split",
            "aten::split.Tensor",
            {qkv, C, std::int64_t{1}},
            {f32(flat(C)), f32(flat(C)), f32(flat(C))});
        const ValueId q = split_heads(name + ".q", parts[0]);
        const ValueId k = split_heads(name + ".k", parts[1]);
        const ValueId v = split_heads(name + ".v", parts[2]);
        const ValueId y = attend(name, q, k, v);
        return add_residual(name, x, y);
    }

    //! (B T, C) -> (B, H, T, D)
    ValueId split_heads(const std::string& name, ValueId x) {
        const ValueId heads = view(
            name + ".view",
            x,
            {micro_batch_, options_.context, options_.heads, head_width()});
        return transpose(name, heads, 1, 2);
    }

    //! (B, H, T, D) each -> (B T, C)
    ValueId attend(const std::string& name, ValueId q, ValueId k, ValueId v) {
        const std::int64_t T = options_.context;
        const TensorType att = f32({micro_batch_, options_.heads, T, T});
        const TensorType mask{DType::boolean, {T, T}};
        const ValueId k_t = transpose(name + ".k_t", k, -2, -1);
        const ValueId scores =
            graph_.add_op(name + ".scores", "aten::matmul", {q, k_t}, att);
        const ValueId scaled = graph_.add_op(
            name + ".scaled",
            "aten::mul.Scalar",
            {scores, 1.0 / std::sqrt(static_cast<double>(head_width()))},
            att);
        const ValueId ones = graph_.add_op(
            name + ".ones", "aten::ones", {mask.sizes, DType::boolean}, mask);
        const ValueId future = graph_.add_op(
            name + ".future", "aten::triu", {ones, std::int64_t{1}}, mask);
        const ValueId masked = graph_.add_op(
            name + ".masked",
            "aten::masked_fill.Scalar",
            {scaled, future, -std::numeric_limits<double>::infinity()},
            att);
        const ValueId weights =
            graph_.add_op(name + ".softmax",
                          "aten::softmax.int",
                          {masked, std::int64_t{-1}, NoArgument{}},
                          att);
        const ValueId mixed =
            graph_.add_op(name + ".mixed",
                          "aten::matmul",
                          {dropout(name + ".drop", weights), v},
                          graph_.type(v));
        return graph_.add_op(
            name + ".merged",
            "aten::reshape",
            {transpose(name + ".mixed_t", mixed, 1, 2), flat(options_.width)},
            f32(flat(options_.width)));
    }

    ValueId mlp(const std::string& layer, ValueId x) {
        const std::string name = layer + ".mlp";
        const ValueId hidden = dense(name + ".c_fc",
                                     layer_norm(layer + ".ln_2", x),
                                     4 * options_.width,
                                     init_scale);
        const ValueId y = graph_.add_op(name + ".gelu",
                                        "aten::gelu",
                                        {hidden, std::string("tanh")},
                                        graph_.type(hidden));
        return add_residual(name, x, y);
    }

    //! x + dropout(projection of y), (B T, C)
    ValueId add_residual(const std::string& name, ValueId x, ValueId y) {
        const double scale =
            init_scale / std::sqrt(2.0 * static_cast<double>(options_.layers));
        const ValueId projected =
            dense(name + ".c_proj", y, options_.width, scale);
        return graph_.add_op(
            name + ".residual",
            "aten::add.Tensor",
            {x, dropout(name + ".c_proj.drop", projected), std::int64_t{1}},
            graph_.type(x));
    }

    void add_head(ValueId x, ValueId labels, ValueId wte) {
        const std::int64_t B = micro_batch_;
        const std::int64_t T = options_.context;
        const std::int64_t V = options_.vocabulary;
        const ValueId head =
            options_.tie_embeddings
                ? wte
                : weight("lm_head", {V, options_.width}, init_scale);
        const ValueId logits = graph_.add_op(
            "lm_head", "aten::linear", {x, head, NoArgument{}}, f32(flat(V)));
        graph_.set_output(view("logits", logits, {B, T, V}));
        graph_.set_loss(graph_.add_op("loss",
                                      "aten::cross_entropy_loss",
                                      {logits,
                                       view("labels.flat", labels, {B * T}),
                                       NoArgument{},
                                       std::int64_t{1},  // mean
                                       std::int64_t{-100},
                                       0.0},
                                      f32({})));
    }

    ValueId layer_norm(const std::string& name, ValueId x) {
        const std::vector<std::int64_t> sizes{options_.width};
        const ValueId gain =
            graph_.add_parameter(name + ".weight", f32(sizes), ones);
        const ValueId bias =
            graph_.add_parameter(name + ".bias", f32(sizes), zeros);
        return graph_.add_op(name,
                             "aten::layer_norm",
                             {x, sizes, gain, bias, 1e-5, true},
                             graph_.type(x));
    }

    //! (B T, in) -> (B T, out)
    ValueId dense(const std::string& name,
                  ValueId x,
                  std::int64_t out,
                  double scale) {
        const std::int64_t in = graph_.type(x).sizes.back();
        const ValueId w = weight(name, {in, out}, scale);
        const ValueId b =
            graph_.add_parameter(name + ".bias", f32({out}), zeros);
        return graph_.add_op(name, "aten::addmm", {b, x, w}, f32(flat(out)));
    }

    ValueId dropout(const std::string& name, ValueId x) {
        if (options_.dropout == 0) {
            return x;
        }
        const TensorType type = graph_.type(x);
        const ValueId mask = graph_.add_op(name + ".mask",
                                           "fusionllm::dropout_mask",
                                           {x, options_.dropout},
                                           type);
        return graph_.add_op(name, "aten::mul.Tensor", {x, mask}, type);
    }

    ValueId view(const std::string& name,
                 ValueId x,
                 std::vector<std::int64_t> sizes) {
        return graph_.add_op(
            name, "aten::view", {x, sizes}, {graph_.type(x).dtype, sizes});
    }

    ValueId transpose(const std::string& name,
                      ValueId x,
                      std::int64_t a,
                      std::int64_t b) {
        TensorType type = graph_.type(x);
        const auto rank = static_cast<std::int64_t>(type.sizes.size());
        std::swap(type.sizes[(a + rank) % rank], type.sizes[(b + rank) % rank]);
        return graph_.add_op(name, "aten::transpose.int", {x, a, b}, type);
    }

    std::int64_t head_width() const { return options_.width / options_.heads; }
    std::vector<std::int64_t> flat(std::int64_t width) const {
        return {micro_batch_ * options_.context, width};
    }

    GraphBuilder graph_;
    Gpt2Options options_;
    std::int64_t micro_batch_;
};

}  // namespace

const std::vector<std::string>& gpt2_sizes() {
    static const std::vector<std::string> sizes{
        "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"};
    return sizes;
}

Gpt2Options published_gpt2(std::string_view size) {
    struct Size {
        std::int64_t layers;
        std::int64_t width;
        std::int64_t heads;
    };
    // In the order of the names.
    constexpr Size published[] = {
        {12, 768, 12}, {24, 1024, 16}, {36, 1280, 20}, {48, 1600, 25}};
    const auto& sizes = gpt2_sizes();
    const auto found = std::ranges::find(sizes, size);
    FUSIONLLM_VALIDATE(found != sizes.end(),
                       "there is no GPT-2 of size '{}'{}; the sizes are {}",
                       size,
                       did_you_mean(size, sizes),
                       fmt::join(sizes, ", "));
    const auto [layers, width, heads] = published[found - sizes.begin()];
    Gpt2Options options;
    options.layers = layers;
    options.width = width;
    options.heads = heads;
    options.context = 1024;
    options.vocabulary = 50257;
    return options;
}

OpGraph make_gpt2(const Gpt2Options& options, std::int64_t micro_batch) {
    check(options, micro_batch);
    return Gpt2Builder(options, micro_batch).build();
}

}  // namespace fusionllm
