#include "fusionllm/sim/step_parts.hpp"

#include <algorithm>

#include "fusionllm/sim/simulate.hpp"

namespace fusionllm {
namespace {

//! From a device to itself there is no latency and no limit.
void free_links(std::vector<Crossing>& crossings) {
    for (Crossing& crossing : crossings) {
        crossing.to = crossing.from;
    }
}

}  // namespace

StepParts split_step(const Schedule& schedule,
                     const StepCosts& costs,
                     const Network& network) {
    const double step_s = simulate_step_s(schedule, costs, network);
    StepCosts less = costs;
    less.parameter_gradients.clear();
    const double without_exchange_s = simulate_step_s(schedule, less, network);
    free_links(less.forward);
    free_links(less.backward);
    const Timeline alone = simulate(schedule, less, network);
    StepParts parts;
    parts.compute_s = std::ranges::max(alone.busy_s);
    parts.bubble_s = alone.makespan_s - parts.compute_s;
    parts.links_s = without_exchange_s - alone.makespan_s;
    parts.exchange_s = step_s - without_exchange_s;
    return parts;
}

}  // namespace fusionllm
