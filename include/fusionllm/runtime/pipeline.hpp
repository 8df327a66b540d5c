#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "fusionllm/comm/transport.hpp"
#include "fusionllm/comm/wait.hpp"
#include "fusionllm/plan/schedule.hpp"
#include "fusionllm/runtime/arrival_clock.hpp"
#include "fusionllm/runtime/compute_thread.hpp"
#include "fusionllm/runtime/stage_work.hpp"

namespace fusionllm {

//! The ranks that hold the stages before and after; -1 where there is none.
struct Neighbours {
    int previous = -1;
    int next = -1;
};

/*!
 * Executes one stage's actions of a schedule over a transport.
 *
 * The main thread posts receives ahead (as many micro-batches as the stage
 * holds in flight, and one), hands an action to the compute thread as soon as
 * its messages are in, sends what comes out and never waits for a send: both
 * directions move at the same time as the computation.
 */
class Pipeline {
public:
    //! A micro-batch by `slice().user_inputs`; called on the main thread.
    using MakeInputs =
        std::function<std::vector<HostTensor>(std::uint32_t micro_batch)>;

    Pipeline(Transport& transport,
             IdleWait& wait,
             ComputeThread& compute,
             const OpGraph& graph,
             StageWork& work,
             Neighbours neighbours);

    //! Forwards and backwards of one training step.
    PipelineResult train(const std::vector<Action>& actions,
                         std::uint64_t step,
                         const MakeInputs& make_inputs);
    /*!
     * Forwards only, in evaluation form. No gradients come back and hold a
     * stage up, so the next one sends a message without bytes for each forward
     * that it takes: at most 4 forwards, or 8 MiB of messages and 2 forwards
     * (what fills a long link), are made and not taken. Ends when all are.
     */
    PipelineResult evaluate(int micro_batches,
                            std::uint64_t step,
                            CodecUse codecs,
                            const MakeInputs& make_inputs);

    //! Send a buffer; the pipeline keeps the request until it is done.
    void send(int destination, Channel channel, Buffer message);
    //! Move pending sends on; true if one was done.
    bool progress_sends();
    //! Which values of training steps are traced; called on the compute thread.
    void trace(
        std::function<bool(ValueId, std::uint64_t step, std::uint32_t m)> is) {
        is_traced_ = std::move(is);
    }
    //! Called before each action of a training step, on the compute thread.
    void on_action(std::function<void(const Action&)> callback) {
        on_action_ = std::move(callback);
    }

private:
    struct Run;
    struct Outgoing {
        int destination;
        Channel channel;
        Buffer message;
    };

    PipelineResult execute(Run& run);
    bool submit_ready(Run& run);
    //! Whether the next stage has to take something first.
    bool is_far_ahead(const Run& run);
    bool progress_receipts(Run& run);
    void look_at_links(const Run& run);
    //! The message that the next action waits for, if it does.
    std::optional<Awaited> find_awaited(const Run& run);
    WorkItem make_item(const Run& run, const Action& action) const;
    //! On the compute thread.
    void work(Run& run, WorkItem item);
    bool send_outgoing();

    Transport& transport_;
    IdleWait& wait_;
    ComputeThread& compute_;
    const OpGraph& graph_;
    StageWork& work_;
    Neighbours neighbours_;
    std::function<void(const Action&)> on_action_;
    std::function<bool(ValueId, std::uint64_t, std::uint32_t)> is_traced_;
    std::mutex mutex_;
    std::vector<Outgoing> outgoing_;  // from the compute to the main thread
    std::deque<Request> sends_;
    ArrivalClock activation_clock_;
    ArrivalClock gradient_clock_;
};

}  // namespace fusionllm
