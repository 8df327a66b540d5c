#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/runtime/rank_role.hpp"

#include "app/job.hpp"

namespace fusionllm {

//! The names of the tensors that a rank loads when it resumes.
std::vector<std::string> tensors_to_load(const Job& job,
                                         const RunInput& input,
                                         const RankRole& role);

//! What a run knows before its first step about its checkpoint after `step`;
//! the hash of its data and the micro-batches are for the caller to add.
CheckpointManifest make_manifest(const Job& job,
                                 const RunInput& input,
                                 const std::string& resolved_input,
                                 std::int64_t step);

}  // namespace fusionllm
