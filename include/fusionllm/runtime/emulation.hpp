#pragma once

#include <functional>
#include <vector>

#include "fusionllm/plan/fence.hpp"
#include "fusionllm/plan/schedule.hpp"
#include "fusionllm/plan/step_costs.hpp"
#include "fusionllm/runtime/sent_bytes.hpp"
#include "fusionllm/topology/network.hpp"

namespace fusionllm {

/*!
 * The devices and links that a run is timed for, wherever it really runs.
 */
struct Emulation {
    //! Of the plan on those devices with these fences, estimated; the bytes are
    //! replaced by those that were sent.
    std::function<StepCosts(const std::vector<Fence>&)> estimate;
    Network network;
    //! The emulated clock at the first step: of the run that is resumed.
    double begin_s = 0;
};

/*!
 * The estimated costs with the bytes that were really sent.
 *
 * \param sent by rank; empty for ranks without a stage
 * \param rank_of_stage, device_of_rank of the run
 *
 * Throws `Error` if a stage did not report a number for every micro-batch.
 */
StepCosts with_sent_bytes(StepCosts costs,
                          const std::vector<SentBytes>& sent,
                          const std::vector<int>& rank_of_stage,
                          const std::vector<DeviceId>& device_of_rank,
                          int micro_batches);

//! Add a step's messages to the traffic between ranks.
void add_traffic(RankTraffic& traffic,
                 const std::vector<SentBytes>& sent,
                 const std::vector<int>& rank_of_stage);

//! The messages that `costs` foresees in a step, in the same form: whole bytes.
RankTraffic foresee_traffic(const StepCosts& costs,
                            const std::vector<int>& rank_of_stage,
                            const std::vector<DeviceId>& device_of_rank,
                            int micro_batches);

}  // namespace fusionllm
