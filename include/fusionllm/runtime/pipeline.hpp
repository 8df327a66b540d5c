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
#include "fusionllm/runtime/busy_clock.hpp"
#include "fusionllm/runtime/compute_thread.hpp"
#include "fusionllm/runtime/fenced_stage.hpp"
#include "fusionllm/runtime/sent_bytes.hpp"
#include "fusionllm/runtime/traced_value.hpp"

namespace fusionllm {

//! The ranks that hold the stages before and after; -1 where there is none.
struct Neighbours {
    int previous = -1;
    int next = -1;
};

//! What the last stage knows after a step, and who saw a non-finite number.
struct PipelineResult {
    double loss_sum = 0;  //!< over the micro-batches, ascending; 0 elsewhere
    std::string bad_activation;  //!< first boundary value with a NaN, or ""
    std::string bad_gradient;    //!< first non-finite boundary gradient, or ""
    //! To the neighbouring stages; the pipeline sends no others by itself.
    SentBytes sent;
    std::vector<TracedValue> traced;
    //! In which messages to the next, and to the previous stage were sent.
    double forward_busy_s = 0;
    double backward_busy_s = 0;
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
             FencedStage& stage,
             Neighbours neighbours);

    //! Forwards and backwards of one training step.
    PipelineResult train(const std::vector<Action>& actions,
                         std::uint64_t step,
                         const MakeInputs& make_inputs);
    //! Forwards only, in evaluation form.
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
    void forward(Run& run,
                 std::uint32_t micro_batch,
                 std::vector<Buffer> messages,
                 const std::vector<HostTensor>& user_inputs);
    void backward(Run& run,
                  std::uint32_t micro_batch,
                  std::vector<Buffer> messages);
    bool has_fence(const Run& run, const FenceKey& key) const;
    //! The cut that messages of a kind cross when this stage sends them, and
    //! when it receives them.
    std::size_t cut_to(MessageKind kind) const;
    std::size_t cut_from(MessageKind kind) const;
    std::vector<at::Tensor> decode(const Run& run,
                                   MessageKind kind,
                                   std::uint32_t micro_batch,
                                   const std::vector<ValueId>& values,
                                   std::vector<Buffer> messages);
    void encode(Run& run,
                MessageKind kind,
                std::uint32_t micro_batch,
                const std::vector<ValueId>& values,
                const std::vector<at::Tensor>& tensors);
    bool send_outgoing();
    void send(int destination,
              Channel channel,
              Buffer message,
              BusyClock* clock);

    Transport& transport_;
    IdleWait& wait_;
    ComputeThread& compute_;
    const OpGraph& graph_;
    FencedStage& stage_;
    Neighbours neighbours_;
    std::function<void(const Action&)> on_action_;
    std::function<bool(ValueId, std::uint64_t, std::uint32_t)> is_traced_;
    std::mutex mutex_;
    std::vector<Outgoing> outgoing_;  // from the compute to the main thread
    //! To a neighbour, or to any other rank.
    struct Sending {
        Request request;
        BusyClock* clock;  // of the link; none for other ranks
    };
    std::deque<Sending> sends_;
    BusyClock forward_clock_;
    BusyClock backward_clock_;
};

}  // namespace fusionllm
