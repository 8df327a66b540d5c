#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fusionllm/sim/timeline.hpp"
#include "fusionllm/topology/network.hpp"

namespace fusionllm {

//! Something that is busy, by the name that people know it by.
struct Bottleneck {
    std::string name;  //!< "stage 3 on lyon-2", "link lyon-osaka"
    double share = 0;  //!< of the step's seconds in which it is needed

    friend bool operator==(const Bottleneck&, const Bottleneck&) = default;
};

//! The bubble: the share of all stages' time in which they do not compute.
double bubble(const Timeline& timeline);

/*!
 * Of all links and lines, the one that the step's bytes take the longest share
 * of: bytes / bandwidth / makespan, over all messages that cross it. Nothing if
 * the step has no messages.
 */
std::optional<Bottleneck> find_busiest_link(const Timeline& timeline,
                                            const Network& network);

/*!
 * The stage or link that is busy for the largest share of the step; a stage
 * before a link and the first of equal ones. Makes no claim about what the rest
 * of the step is: with few micro-batches it is the bubble.
 *
 * \param stage_devices name of the device of every stage
 */
Bottleneck find_bottleneck(const Timeline& timeline,
                           const Network& network,
                           const std::vector<std::string>& stage_devices);

}  // namespace fusionllm
