#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "fusionllm/graph/slice.hpp"
#include "fusionllm/plan/schedule.hpp"
#include "fusionllm/runtime/arrival_clock.hpp"
#include "fusionllm/runtime/fence_codecs.hpp"
#include "fusionllm/runtime/sent_bytes.hpp"
#include "fusionllm/runtime/traced_value.hpp"
#include "fusionllm/util/buffer.hpp"
#include "fusionllm/wire/message_kind.hpp"

namespace fusionllm {

//! What the last stage knows after a step, and who saw a non-finite number.
struct PipelineResult {
    double loss_sum = 0;  //!< over the micro-batches, ascending; 0 elsewhere
    std::string bad_activation;  //!< first boundary value with a NaN, or ""
    std::string bad_gradient;    //!< first non-finite boundary gradient, or ""
    //! To the neighbouring stages; the pipeline sends no others by itself.
    SentBytes sent;
    std::vector<TracedValue> traced;
    LinkActivity links{};
};

//! An action with all that it needs.
struct WorkItem {
    Action action{ActionKind::forward, MicrobatchId(0)};
    std::uint64_t step = 0;
    //! Evaluations are forwards in evaluation form.
    CodecKey::Use use = CodecKey::Use::training;
    CodecUse codecs = CodecUse::on;
    //! By the slice's inputs, or by its outputs with a gradient.
    std::vector<Buffer> messages;
    double ready_s = 0;  //!< when they were in, on the clock of `monotonic_s`
    std::vector<HostTensor> user_inputs;  //!< of forwards; by the slice's
    //! Of the values that this action makes; may be empty.
    std::function<bool(ValueId)> is_traced;

    std::uint32_t micro_batch() const { return action.microbatch.get(); }
    bool is_forward() const { return action.kind == ActionKind::forward; }
};

//! A message of a value for the next stage, or of its gradient for the
//! previous one.
struct MadeMessage {
    ValueId value{0};
    Buffer message;
};

/*!
 * What becomes of a stage's messages: `TensorWork` computes, `WaitingWork`
 * takes the time that another device would. Runs on the compute thread, one
 * action after the other.
 */
class StageWork {
public:
    virtual ~StageWork() = default;
    virtual const StageSlice& slice() const = 0;
    //! No message of this kind that comes in has more bytes; any thread.
    virtual std::size_t max_message_bytes(MessageKind kind,
                                          ValueId value) const = 0;
    //! What there is to send, by the slice's outputs or inputs. Adds to the
    //! result all but `sent` and the busy seconds.
    virtual std::vector<MadeMessage> run(WorkItem item,
                                         PipelineResult& result) = 0;
};

//! Values of `values` that have a gradient: no other one has messages back.
std::vector<ValueId> with_gradient(const OpGraph& graph,
                                   const std::vector<ValueId>& values);

}  // namespace fusionllm
