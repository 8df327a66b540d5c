#pragma once

#include <functional>
#include <vector>

#include "fusionllm/plan/fence.hpp"
#include "fusionllm/plan/step_costs.hpp"

namespace fusionllm {

/*!
 * Waits in place of computing: a stage takes the seconds that its device would,
 * and sends messages of the same bytes that say nothing.
 *
 * So a run shows how long its steps take and what crosses its links, with more
 * ranks than cores, without parameters, and without numbers: it has no loss
 * and writes no checkpoint.
 */
struct StageWaits {
    //! Of each stage with these fences; of `CostModel::step_costs`.
    std::function<std::vector<StageSeconds>(const std::vector<Fence>&)>
        estimate;
};

}  // namespace fusionllm
