#pragma once

#include <string>
#include <vector>

#include "fusionllm/plan/schedule.hpp"
#include "fusionllm/topology/network.hpp"

namespace fusionllm {

//! A stage that computes, or a message on its way, from begin to end. Messages
//! of a link do not overlap from `begin_s` to `sent_s`.
struct Span {
    enum class Kind {
        forward,
        backward,
        update,
        send_activation,
        send_gradient,
        send_parameter_gradient,
    };
    Kind kind = Kind::forward;
    //! Of the stage, or the crossing's position in its list of `StepCosts`.
    std::size_t index = 0;
    std::uint32_t microbatch = 0;  //!< 0 where there is none
    double begin_s = 0;
    double end_s = 0;   //!< of a message: when it has arrived
    double sent_s = 0;  //!< of a message: when its last byte left; else the end

    friend bool operator==(const Span&, const Span&) = default;
};

//! What a link carried; a device has no link to itself.
struct LinkUse {
    DeviceId from{0};
    DeviceId to{0};
    double bytes = 0;   //!< in the step
    double busy_s = 0;  //!< with at least one message on it, latency left out

    friend bool operator==(const LinkUse&, const LinkUse&) = default;
};

//! One step as it was simulated.
struct Timeline {
    std::vector<Span> spans;     //!< by begin, then by kind and index
    double makespan_s = 0;       //!< the step time
    std::vector<double> busy_s;  //!< by stage: computing
    std::vector<LinkUse> links;  //!< by (from, to)

    friend bool operator==(const Timeline&, const Timeline&) = default;
};

}  // namespace fusionllm
