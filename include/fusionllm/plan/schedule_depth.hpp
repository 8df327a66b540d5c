#pragma once

#include <vector>

#include "fusionllm/plan/step_costs.hpp"
#include "fusionllm/topology/network.hpp"

namespace fusionllm {

/*!
 * How many micro-batches 1F1B should keep in flight on every stage, so that
 * long transfers do not make it wait (`Plan::in_flight`). Little's law:
 *
 *     in_flight[s] = ceil(L_s / P)
 *
 * L_s: seconds from the begin of F on stage s to the end of its B there when
 * nothing queues: all computing from s on, transfers and latencies both ways.
 * P: the slowest period of any stage (F + B), link or shared line (bytes of a
 * micro-batch / bandwidth). With fewer the slowest of them is idle at times;
 * more only take memory.
 *
 * At least the classic depth S - s, at most `limits[s]` (what the memory of the
 * device holds) and M, and not increasing along the stages. Throws `InputError`
 * if a limit is under 1 or there is not one a stage.
 *
 * Little, "A proof for the queuing formula L = lambda W", 1961; used here:
 * ours.
 */
std::vector<int> choose_in_flight(const StepCosts& costs,
                                  const Network& network,
                                  int micro_batches,
                                  const std::vector<int>& limits);

}  // namespace fusionllm
