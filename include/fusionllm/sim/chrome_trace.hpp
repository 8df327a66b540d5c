#pragma once

#include <string>
#include <vector>

#include "fusionllm/plan/step_costs.hpp"
#include "fusionllm/sim/timeline.hpp"
#include "fusionllm/topology/network.hpp"

namespace fusionllm {

/*!
 * The timeline as JSON that chrome://tracing and ui.perfetto.dev show: a
 * process a stage and a process a link. A message is drawn while it holds its
 * link; its latency is in `args`. Times are whole nanoseconds, so that what
 * follows each other in the timeline does so in the file.
 *
 * Format: "Trace Event Format", complete events ("X") and metadata ("M").
 *
 * \param costs the ones that the timeline was simulated with
 * \param stage_devices name of the device of every stage
 */
std::string to_chrome_trace(const Timeline& timeline,
                            const StepCosts& costs,
                            const Network& network,
                            const std::vector<std::string>& stage_devices);

}  // namespace fusionllm
