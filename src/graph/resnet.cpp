#include "fusionllm/graph/resnet.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/ranges.h>

#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm {
namespace {

// Shapes: N micro-batch, C channels, H height and width.

constexpr Initializer zeros{Initializer::Kind::zeros, 0};
constexpr Initializer ones{Initializer::Kind::ones, 0};

//! Blocks of the four layers, and convolutions of a block.
struct Depth {
    std::int64_t depth;
    std::array<std::int64_t, 4> blocks;
    bool has_bottlenecks;
};

constexpr Depth depths[] = {{18, {2, 2, 2, 2}, false},
                            {34, {3, 4, 6, 3}, false},
                            {50, {3, 4, 6, 3}, true},
                            {101, {3, 4, 23, 3}, true},
                            {152, {3, 8, 36, 3}, true}};

const Depth& find_depth(std::int64_t depth) {
    const auto* found = std::ranges::find(depths, depth, &Depth::depth);
    FUSIONLLM_VALIDATE(found != std::end(depths),
                       "there is no ResNet with {} layers; the sizes are {}",
                       depth,
                       fmt::join(resnet_sizes(), ", "));
    return *found;
}

void check(const ResnetOptions& options, std::int64_t micro_batch) {
    FUSIONLLM_VALIDATE(micro_batch > 0,
                       "a ResNet needs micro-batches of at least 1 image, not "
                       "{}",
                       micro_batch);
    FUSIONLLM_VALIDATE(
        options.classes > 0 && options.image > 0 && options.channels > 0,
        "the sizes of a ResNet must be positive, not classes = {}, image = {}, "
        "channels = {}",
        options.classes,
        options.image,
        options.channels);
}

TensorType f32(std::vector<std::int64_t> sizes) {
    return {DType::f32, std::move(sizes)};
}

//! A square window that moves over an image.
struct Window {
    std::int64_t size;
    std::int64_t stride;
    std::int64_t padding;

    std::int64_t out(std::int64_t height) const {
        return (height + 2 * padding - size) / stride + 1;
    }
};

std::vector<std::int64_t> twice(std::int64_t number) {
    return {number, number};
}

class ResnetBuilder {
public:
    ResnetBuilder(const ResnetOptions& options, std::int64_t micro_batch)
        : graph_("resnet" + std::to_string(options.depth)),
          options_(options),
          depth_(find_depth(options.depth)),
          micro_batch_(micro_batch) {}

    OpGraph build() {
        const ValueId image = graph_.add_input(
            "image", f32({micro_batch_, 3, options_.image, options_.image}));
        const ValueId labels =
            graph_.add_label("labels", {DType::i64, {micro_batch_}});
        ValueId x = stem(image);
        std::int64_t channels = options_.channels;
        for (std::size_t layer = 0; layer < 4; ++layer) {
            for (std::int64_t i = 0; i < depth_.blocks[layer]; ++i) {
                const std::int64_t stride = layer > 0 && i == 0 ? 2 : 1;
                x = block(fmt::format("layer{}.{}", layer + 1, i),
                          x,
                          channels,
                          stride);
            }
            channels *= 2;
        }
        add_head(x, labels);
        return graph_.build();
    }

private:
    //! (N, 3, H, H) -> (N, C, H/4, H/4), or H for the small one
    ValueId stem(ValueId image) {
        const std::int64_t C = options_.channels;
        if (options_.stem == ResnetStem::cifar) {
            return relu("relu",
                        norm("bn1", convolve("conv1", image, C, {3, 1, 1})));
        }
        const ValueId x =
            relu("relu", norm("bn1", convolve("conv1", image, C, {7, 2, 3})));
        const Window window{3, 2, 1};
        return graph_.add_op("maxpool",
                             "aten::max_pool2d",
                             {x,
                              twice(window.size),
                              twice(window.stride),
                              twice(window.padding),
                              twice(1),
                              false},
                             image_type(x, C, window));
    }

    //! Two or three convolutions beside a way past them.
    ValueId block(const std::string& name,
                  ValueId x,
                  std::int64_t channels,
                  std::int64_t stride) {
        const ValueId y = depth_.has_bottlenecks
                              ? bottleneck(name, x, channels, stride)
                              : basic(name, x, channels, stride);
        const std::int64_t out = graph_.type(y).sizes[1];
        ValueId past = x;
        if (stride != 1 || graph_.type(x).sizes[1] != out) {
            past =
                norm(name + ".downsample.1",
                     convolve(name + ".downsample.0", x, out, {1, stride, 0}));
        }
        const ValueId sum = graph_.add_op(name + ".add",
                                          "aten::add.Tensor",
                                          {y, past, std::int64_t{1}},
                                          graph_.type(y));
        return relu(name + ".relu", sum);
    }

    ValueId basic(const std::string& name,
                  ValueId x,
                  std::int64_t channels,
                  std::int64_t stride) {
        x = relu(name + ".relu1",
                 norm(name + ".bn1",
                      convolve(name + ".conv1", x, channels, {3, stride, 1})));
        return norm(name + ".bn2",
                    convolve(name + ".conv2", x, channels, {3, 1, 1}));
    }

    ValueId bottleneck(const std::string& name,
                       ValueId x,
                       std::int64_t channels,
                       std::int64_t stride) {
        constexpr std::int64_t expansion = 4;
        x = relu(name + ".relu1",
                 norm(name + ".bn1",
                      convolve(name + ".conv1", x, channels, {1, 1, 0})));
        x = relu(name + ".relu2",
                 norm(name + ".bn2",
                      convolve(name + ".conv2", x, channels, {3, stride, 1})));
        return norm(
            name + ".bn3",
            convolve(name + ".conv3", x, expansion * channels, {1, 1, 0}));
    }

    //! (N, C, H, H) -> (N, classes) and the loss
    void add_head(ValueId x, ValueId labels) {
        const std::int64_t N = micro_batch_;
        const std::int64_t C = graph_.type(x).sizes[1];
        const ValueId pooled = graph_.add_op("avgpool",
                                             "aten::adaptive_avg_pool2d",
                                             {x, twice(1)},
                                             f32({N, C, 1, 1}));
        const ValueId flat =
            graph_.add_op("flatten",
                          "aten::flatten.using_ints",
                          {pooled, std::int64_t{1}, std::int64_t{-1}},
                          f32({N, C}));
        const Initializer uniform{Initializer::Kind::uniform,
                                  1 / std::sqrt(static_cast<double>(C))};
        const ValueId w = graph_.add_parameter(
            "fc.weight", f32({options_.classes, C}), uniform);
        const ValueId b =
            graph_.add_parameter("fc.bias", f32({options_.classes}), uniform);
        const ValueId logits = graph_.add_op(
            "logits", "aten::linear", {flat, w, b}, f32({N, options_.classes}));
        graph_.set_output(logits);
        graph_.set_loss(graph_.add_op("loss",
                                      "aten::cross_entropy_loss",
                                      {logits,
                                       labels,
                                       NoArgument{},
                                       std::int64_t{1},  // mean
                                       std::int64_t{-100},
                                       0.0},
                                      f32({})));
    }

    ValueId convolve(const std::string& name,
                     ValueId x,
                     std::int64_t out,
                     const Window& window) {
        const std::int64_t k = window.size;
        const double scale = std::sqrt(2.0 / static_cast<double>(out * k * k));
        const ValueId w =
            graph_.add_parameter(name + ".weight",
                                 f32({out, graph_.type(x).sizes[1], k, k}),
                                 {Initializer::Kind::normal, scale});
        return graph_.add_op(name,
                             "aten::convolution",
                             {x,
                              w,
                              NoArgument{},
                              twice(window.stride),
                              twice(window.padding),
                              twice(1),  // dilation
                              false,     // transposed
                              twice(0),  // output padding
                              std::int64_t{1}},
                             image_type(x, out, window));
    }

    ValueId norm(const std::string& name, ValueId x) {
        const TensorType type = f32({graph_.type(x).sizes[1]});
        const ValueId gain = graph_.add_parameter(name + ".weight", type, ones);
        const ValueId bias = graph_.add_parameter(name + ".bias", type, zeros);
        const ValueId mean =
            graph_.add_buffer(name + ".running_mean", type, zeros);
        const ValueId variance =
            graph_.add_buffer(name + ".running_var", type, ones);
        return graph_.add_op(name,
                             "aten::batch_norm",
                             {x,
                              gain,
                              bias,
                              mean,
                              variance,
                              true,  // training
                              0.1,   // momentum
                              1e-5,
                              true},  // cuDNN, if it is there
                             graph_.type(x));
    }

    ValueId relu(const std::string& name, ValueId x) {
        return graph_.add_op(name, "aten::relu", {x}, graph_.type(x));
    }

    TensorType image_type(ValueId x,
                          std::int64_t channels,
                          const Window& window) const {
        const std::int64_t height = window.out(graph_.type(x).sizes[2]);
        return f32({micro_batch_, channels, height, height});
    }

    GraphBuilder graph_;
    ResnetOptions options_;
    Depth depth_;
    std::int64_t micro_batch_;
};

}  // namespace

const std::vector<std::string>& resnet_sizes() {
    static const std::vector<std::string> sizes = [] {
        std::vector<std::string> names;
        for (const Depth& depth : depths) {
            names.push_back("resnet" + std::to_string(depth.depth));
        }
        return names;
    }();
    return sizes;
}

std::int64_t parse_resnet_size(std::string_view size) {
    const auto& sizes = resnet_sizes();
    const auto found = std::ranges::find(sizes, size);
    FUSIONLLM_VALIDATE(found != sizes.end(),
                       "there is no ResNet of size '{}'{}; the sizes are {}",
                       size,
                       did_you_mean(size, sizes),
                       fmt::join(sizes, ", "));
    return depths[found - sizes.begin()].depth;
}

OpGraph make_resnet(const ResnetOptions& options, std::int64_t micro_batch) {
    check(options, micro_batch);
    return ResnetBuilder(options, micro_batch).build();
}

}  // namespace fusionllm
