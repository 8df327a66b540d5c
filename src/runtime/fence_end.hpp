#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fusionllm/runtime/fence_codecs.hpp"

namespace fusionllm {

//! One end of a fence.
struct FenceCodecs::End {
    CodecChoice choice;
    MatrixShape shape;
    std::unique_ptr<Codec> codec;
    //! What the other end has, to see what it gets; only while measuring.
    std::unique_ptr<Codec> other;

    //! What a checkpoint has of it from this side.
    std::vector<std::pair<std::string, TensorType>> own_state_types(
        Side side) const {
        return codec_state_types(
            choice,
            shape,
            side == Side::before ? Direction::forward : Direction::backward);
    }
};

}  // namespace fusionllm
