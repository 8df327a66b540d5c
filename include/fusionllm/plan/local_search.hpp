#pragma once

#include <cstddef>
#include <functional>

#include "fusionllm/plan/plan.hpp"

namespace fusionllm {

//! Seconds of a step; infinite for a placement that does not fit, and anything
//! above `at_most_s` for one that takes longer than that.
using Evaluate = std::function<double(const Placement&, double at_most_s)>;

/*!
 * Change a placement while that makes it better: move a cut by 1, 2, 4, ...
 * ops, swap the devices of neighbours, give a stage a device without one, drop
 * a stage. Takes the first change that helps, in a fixed order, until none
 * does or `max_evaluations` are used up. Never returns a worse placement.
 */
Placement improve_placement(Placement placement,
                            std::size_t num_devices,
                            const Evaluate& evaluate,
                            std::size_t max_evaluations);

}  // namespace fusionllm
