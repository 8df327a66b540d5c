#pragma once

#include <functional>
#include <vector>

#include "fusionllm/plan/fence.hpp"
#include "fusionllm/plan/plan.hpp"
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

//! The clock of the emulated devices, which moves with the steps of a real run.
class EmulatedClock {
public:
    //! \param rank_of_stage, device_of_rank of the run
    EmulatedClock(Emulation emulation,
                  const Plan& plan,
                  std::vector<int> rank_of_stage,
                  std::vector<DeviceId> device_of_rank);

    //! From the next step on.
    void set_fences(const std::vector<Fence>& fences);
    //! \param sent by rank, as for `with_sent_bytes`
    void add_step(const std::vector<SentBytes>& sent);
    double step_s() const { return step_s_; }  //!< of the last step
    double now_s() const { return now_s_; }

private:
    Emulation emulation_;
    int micro_batches_;
    std::vector<int> rank_of_stage_;
    std::vector<DeviceId> device_of_rank_;
    Schedule schedule_;
    StepCosts costs_;
    double step_s_ = 0;
    double now_s_;
};

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
