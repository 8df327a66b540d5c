#pragma once

#include <optional>
#include <vector>

#include "fusionllm/plan/plan.hpp"
#include "fusionllm/runtime/pipeline.hpp"

namespace fusionllm {

//! What a rank does in a plan.
struct RankRole {
    std::optional<std::size_t> stage;  //!< none: the rank only takes part
    Neighbours neighbours;
    std::vector<int> rank_of_stage;
};

//! \param device_of_rank from `match_ranks`
RankRole make_rank_role(const Plan& plan,
                        const std::vector<DeviceId>& device_of_rank,
                        int rank);

}  // namespace fusionllm
