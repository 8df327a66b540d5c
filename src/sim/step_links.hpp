#pragma once

#include <limits>
#include <vector>

#include "fusionllm/plan/step_costs.hpp"
#include "fusionllm/sim/timeline.hpp"
#include "fusionllm/topology/network.hpp"

namespace fusionllm {

//! A directed link that the step uses.
struct UsedLink {
    DeviceId from{0};
    DeviceId to{0};
    Link link;
    //! Of those it crosses, the ones that other used links cross as well.
    LineList shared_lines;
};

//! A crossing of the step: its link and what it carries.
struct Route {
    //! Position in `StepLinks::links`.
    std::size_t link = 0;
    const Crossing* crossing = nullptr;

    //! A device has what it sends to itself at once.
    static constexpr auto no_link = std::numeric_limits<std::size_t>::max();
};

/*!
 * Which links a step uses and how far they are apart from each other. Keeps
 * pointers into the costs.
 */
struct StepLinks {
    std::vector<UsedLink> links;  //!< by (from, to)
    std::vector<Route> forward;
    std::vector<Route> backward;
    std::vector<Route> parameter_gradients;
    //! By parameter gradient: the stages that send it, and that wait for it.
    std::vector<std::vector<std::size_t>> senders;
    std::vector<std::vector<std::size_t>> receivers;
    //! No line is shared and each link has one sender, so that what a link
    //! carries, and when, depends on its sender alone.
    bool is_independent = true;

    const Route& route(Span::Kind kind, std::size_t index) const;
};

//! Throws `InputError` if a crossing is missing, has not one number of bytes or
//! `micro_batches` of them, or comes from a device without a stage.
StepLinks find_links(const StepCosts& costs,
                     const Network& network,
                     std::size_t micro_batches);

}  // namespace fusionllm
