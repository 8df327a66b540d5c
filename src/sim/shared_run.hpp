#pragma once

#include "step_record.hpp"

namespace fusionllm {

/*!
 * Run the step event by event, in the order of time: links that cross the same
 * line change each other's rates. A message is a fluid whose rate is the least
 * of its link's bandwidth and of bandwidth / (links that carry) over the lines
 * it crosses; rates are followed exactly from event to event.
 *
 * Time: events x (log(events waiting) + links on the lines of an event's link).
 */
void run_on_shared_lines(const StepCosts& costs,
                         const StepLinks& links,
                         const Network& network,
                         StepRecord& record);

}  // namespace fusionllm
