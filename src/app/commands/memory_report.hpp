#pragma once

#include <cstdint>
#include <string>

#include "fusionllm/comm/transport.hpp"
#include "fusionllm/runtime/rank_role.hpp"

#include "app/job.hpp"

namespace fusionllm {

//! Of one rank, in bytes of host memory.
struct MemoryUse {
    std::uint64_t weights = 0;  //!< parameters and buffers of its stage
    std::uint64_t loaded = 0;   //!< most in use until they were all loaded
    std::uint64_t most = 0;     //!< most in use until the end
};

//! A rank's parameters and buffers, shared ones once; 0 without a stage.
std::uint64_t weight_bytes(const Job& job, const RankRole& role);

//! What each rank used, as a table on the root and "" elsewhere; collective.
std::string gather_memory(Transport& transport, const MemoryUse& mine);

}  // namespace fusionllm
