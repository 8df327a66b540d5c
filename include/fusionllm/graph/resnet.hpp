#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm {

//! How a ResNet begins.
enum class ResnetStem {
    imagenet,  //!< 7x7 convolution and 3x3 pooling, each halving the image
    cifar,     //!< 3x3 convolution at full size, for images of 32x32
};

//! Sizes of a ResNet (He et al., 2016).
struct ResnetOptions {
    std::int64_t depth = 50;  //!< 18, 34, 50, 101 or 152
    std::int64_t classes = 1000;
    std::int64_t image = 224;  //!< height and width
    ResnetStem stem = ResnetStem::imagenet;
    std::int64_t channels =
        64;  //!< of the first layer; each has twice the last

    friend bool operator==(const ResnetOptions&,
                           const ResnetOptions&) = default;
};

//! "resnet18" to "resnet152".
const std::vector<std::string>& resnet_sizes();
//! 18 for "resnet18"; throws `InputError` with the nearest right spelling.
std::int64_t parse_resnet_size(std::string_view size);

/*!
 * ResNet with its loss, for micro-batches of `micro_batch` images.
 *
 * Inputs: "image" f32 (N, 3, H, H), label "labels" i64 (N). Output: "logits"
 * (N, classes); loss: mean cross-entropy in nats. Parameters, running means
 * and variances (buffers, which training changes in place) have torchvision's
 * names and, with 64 channels, shapes: conv1.weight,
 * bn1.{weight,bias,running_mean,running_var},
 * layerL.B.{convI,bnI,downsample.{0,1}}..., fc.{weight,bias}. As there, the
 * middle convolution of a bottleneck has the stride. torchvision's counters
 * num_batches_tracked, which its default momentum does not need, are left out.
 * Convolutions start normal(0, sqrt(2 / (out k k))), norms at 1 and 0, fc
 * uniform in 1/sqrt(in).
 *
 * Throws `InputError` for sizes that there are not.
 */
OpGraph make_resnet(const ResnetOptions& options, std::int64_t micro_batch);

}  // namespace fusionllm
