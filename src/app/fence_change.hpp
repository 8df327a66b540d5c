#pragma once

#include <cstdint>
#include <vector>

#include "fusionllm/plan/fence.hpp"

namespace fusionllm {

//! The fences from a step on; `step` counts the updates before.
struct FenceChange {
    std::int64_t step = 0;
    std::int64_t version = 0;  //!< 1 for the first change of a run
    std::vector<Fence> fences;

    friend bool operator==(const FenceChange&, const FenceChange&) = default;
};

}  // namespace fusionllm
