#pragma once

#include <functional>
#include <vector>

#include "fusionllm/plan/fence.hpp"
#include "fusionllm/plan/step_costs.hpp"

namespace fusionllm {

/*!
 * Stages take the seconds that other devices would.
 *
 * In place of computing: a stage sends messages of the same bytes that say
 * nothing. So a run shows how long its steps take and what crosses its links,
 * with more ranks than cores, without parameters, and without numbers: it has
 * no loss and writes no checkpoint. After computing: a stage waits for the rest
 * of its time; one that needs more ends the run (`check_pace`).
 */
struct StageWaits {
    enum class Kind { in_place_of_computing, after_computing };

    Kind kind = Kind::in_place_of_computing;
    //! Of each stage with these fences, as the clock here shall show them.
    std::function<std::vector<StageSeconds>(const std::vector<Fence>&)>
        estimate;

    bool has_numbers() const { return kind == Kind::after_computing; }
};

}  // namespace fusionllm
