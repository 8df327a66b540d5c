#pragma once

#include <vector>

#include "fusionllm/plan/compression.hpp"

namespace fusionllm::detail {

//! What the rule may choose from, in no order that matters; dense among them
//! unless the rule is `uniform`. Empty for `none` and `cut`.
std::vector<CodecChoice> codec_candidates(const CompressionOptions& options);

}  // namespace fusionllm::detail
