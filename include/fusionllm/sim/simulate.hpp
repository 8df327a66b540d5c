#pragma once

#include "fusionllm/plan/step_costs.hpp"
#include "fusionllm/sim/timeline.hpp"

namespace fusionllm {

/*!
 * Discrete-event run of one step.
 *
 * A stage computes one action at a time, in the order of the schedule, as soon
 * as its message is there. Each directed link carries one message at a time, in
 * the order in which they were given to it, and the latency comes after the
 * last byte; a message is given when the action that makes it ends. Links that
 * cross the same line (`Network::lines`) share its bandwidth equally while they
 * both carry. Parameter gradients leave when their sender has run its last
 * action; a stage updates when its actions are over and those it is sent are
 * in. Forwards only: no update. Deterministic.
 *
 * Throws `InputError` if schedule and costs have different numbers of stages.
 */
Timeline simulate(const Schedule& schedule,
                  const StepCosts& costs,
                  const Network& network);

//! The same number without the spans, for planners.
double simulate_step_s(const Schedule& schedule,
                       const StepCosts& costs,
                       const Network& network);

}  // namespace fusionllm
