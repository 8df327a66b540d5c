#pragma once

#include <cstdint>

#include "fusionllm/graph/op_graph.hpp"
#include "fusionllm/util/tensor_type.hpp"
#include "fusionllm/wire/codec_spec.hpp"

namespace fusionllm {

//! What a stage sends, before any codec: an activation or a gradient.
struct TracedValue {
    ValueId value{0};
    Direction direction = Direction::forward;
    std::uint32_t micro_batch = 0;
    HostTensor tensor;  //!< f32
};

}  // namespace fusionllm
