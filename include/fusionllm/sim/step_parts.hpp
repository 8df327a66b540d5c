#pragma once

#include "fusionllm/plan/schedule.hpp"
#include "fusionllm/plan/step_costs.hpp"
#include "fusionllm/topology/network.hpp"

namespace fusionllm {

/*!
 * What a step is made of; the parts add up to it.
 *
 * Each part is what the step would save without its cause, one after the other:
 * the exchange of shared parameters' gradients, then all waiting for links;
 * what is left is the computing of the busiest stage and its bubble. So
 * `compute_s + bubble_s` is the step time of the same devices with infinitely
 * fast links.
 */
struct StepParts {
    double compute_s = 0;   //!< of the busiest stage, its update included
    double bubble_s = 0;    //!< in which that stage waits for other stages
    double links_s = 0;     //!< added by activations and gradients on links
    double exchange_s = 0;  //!< added by gradients of shared parameters

    double step_s() const {
        return compute_s + bubble_s + links_s + exchange_s;
    }
    friend bool operator==(const StepParts&, const StepParts&) = default;
};

StepParts split_step(const Schedule& schedule,
                     const StepCosts& costs,
                     const Network& network);

}  // namespace fusionllm
