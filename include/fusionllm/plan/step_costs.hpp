#pragma once

#include <string>
#include <vector>

#include "fusionllm/topology/topology.hpp"

namespace fusionllm {

//! Seconds of a stage's work on its device.
struct StageSeconds {
    double forward_s = 0;   //!< of a micro-batch, decode and encode included
    double backward_s = 0;  //!< of a micro-batch, decode and encode included
    double update_s = 0;    //!< once a step, after all gradients are there

    friend bool operator==(const StageSeconds&, const StageSeconds&) = default;
};

//! What goes from one device to another.
struct Crossing {
    DeviceId from{0};
    DeviceId to{0};
    //! Headers included; by micro-batch, or one number for all of them.
    std::vector<double> bytes;

    double bytes_of(std::size_t micro_batch) const {
        return bytes.size() == 1 ? bytes.front() : bytes.at(micro_batch);
    }
    friend bool operator==(const Crossing&, const Crossing&) = default;
};

/*!
 * Seconds and bytes of one step of a plan, estimated or recorded: what the
 * formula and the simulator turn into a step time.
 */
struct StepCosts {
    std::vector<StageSeconds> stages;
    std::vector<Crossing> forward;   //!< [s]: activations, stage s to s + 1
    std::vector<Crossing> backward;  //!< [s]: gradients, stage s + 1 to s
    //! Gradients of shared parameters, once a step after the last backward of
    //! the sender; the receiver's update waits for them. One element of bytes.
    std::vector<Crossing> parameter_gradients;

    friend bool operator==(const StepCosts&, const StepCosts&) = default;
};

}  // namespace fusionllm
