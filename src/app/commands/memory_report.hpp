#pragma once

#include <cstdint>
#include <string>

#include "fusionllm/comm/transport.hpp"
#include "fusionllm/runtime/rank_role.hpp"

#include "app/job.hpp"

namespace fusionllm {

//! A rank's parameters and buffers, shared ones once; 0 without a stage.
std::uint64_t weight_bytes(const Job& job, const RankRole& role);

/*!
 * What each rank used of host memory until now, as a table on the root and ""
 * elsewhere; collective. In bytes: of its weights, and at most until these were
 * loaded.
 */
std::string gather_memory(Transport& transport,
                          std::uint64_t weights,
                          std::uint64_t loaded);

}  // namespace fusionllm
