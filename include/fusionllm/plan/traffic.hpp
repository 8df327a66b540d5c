#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "fusionllm/plan/plan.hpp"

namespace fusionllm {

//! A parameter that several stages use: its gradients are summed over them.
struct SharedParameter {
    std::size_t parameter = 0;     //!< position in the signature
    std::vector<StageId> holders;  //!< ascending, two at least

    friend bool operator==(const SharedParameter&,
                           const SharedParameter&) = default;
};

//! Every parameter that is used in more than one stage, in signature order.
std::vector<SharedParameter> shared_parameter_holders(const Plan& plan,
                                                      const OpGraph& graph);

/*!
 * Pairs (a < b) of groups, by position in `plan.groups`, whose devices exchange
 * messages; ascending. Those are
 *
 * - groups of neighbouring stages (activations and gradients),
 * - groups that hold the same parameter (every pair of its holders),
 * - `root_group`, that of rank 0's device, with every other (control messages).
 */
std::vector<std::pair<int, int>> communicating_groups(const Plan& plan,
                                                      const OpGraph& graph,
                                                      int root_group);

}  // namespace fusionllm
