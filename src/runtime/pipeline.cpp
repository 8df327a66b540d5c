#include "fusionllm/runtime/pipeline.hpp"

#include <algorithm>
#include <memory>
#include <thread>

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/runtime/message.hpp"
#include "fusionllm/util/error.hpp"

#include "receive_queue.hpp"

namespace fusionllm {
namespace {

// One action runs and one waits behind it, so the compute thread never waits
// for the main thread; more would only hold buffers earlier.
constexpr std::size_t max_actions_ahead = 2;

int largest_in_flight(const std::vector<Action>& actions) {
    return peak_in_flight(Schedule{{actions}}, StageId(0));
}

//! No task may outlive the run that it refers to, also when that one fails.
class TasksEndFirst {
public:
    explicit TasksEndFirst(const ComputeThread& compute) : compute_(compute) {}
    TasksEndFirst(const TasksEndFirst&) = delete;
    TasksEndFirst& operator=(const TasksEndFirst&) = delete;
    ~TasksEndFirst() {
        while (compute_.num_pending() > 0) {
            std::this_thread::yield();
        }
    }

private:
    const ComputeThread& compute_;
};

}  // namespace

//! The state of one step while its actions are executed.
struct Pipeline::Run {
    std::vector<Action> actions;
    std::uint64_t step = 0;
    bool is_training = true;
    CodecUse codecs = CodecUse::on;
    MakeInputs make_inputs;
    std::size_t next_action = 0;
    std::deque<ReceiveQueue> activations;  // by slice().inputs
    std::deque<ReceiveQueue> gradients;    // by values_with_gradient
    std::vector<ValueId> values_with_gradient;
    PipelineResult result;  // the compute thread's until the end

    FenceKey fence_key(std::size_t cut,
                       MessageKind kind,
                       const MessageHeader& header) const {
        return {
            cut,
            ValueId(header.value),
            kind == MessageKind::activation ? Direction::forward
                                            : Direction::backward,
            step,
            header.micro_batch,
            is_training ? CodecKey::Use::training : CodecKey::Use::evaluation};
    }
};

Pipeline::Pipeline(Transport& transport,
                   IdleWait& wait,
                   ComputeThread& compute,
                   const OpGraph& graph,
                   FencedStage& stage,
                   Neighbours neighbours)
    : transport_(transport),
      wait_(wait),
      compute_(compute),
      graph_(graph),
      stage_(stage),
      neighbours_(neighbours) {}

void Pipeline::send(int destination, Channel channel, Buffer message) {
    send(destination, channel, std::move(message), nullptr);
}

void Pipeline::send(int destination,
                    Channel channel,
                    Buffer message,
                    BusyClock* clock) {
    if (clock != nullptr) {
        clock->begin();
    }
    sends_.push_back(
        {transport_.send(destination, channel, std::move(message)), clock});
}

bool Pipeline::progress_sends() {
    const auto num_erased = std::erase_if(sends_, [](Sending& sending) {
        const bool is_done = sending.request.test();
        if (is_done && sending.clock != nullptr) {
            sending.clock->end();
        }
        return is_done;
    });
    return num_erased > 0;
}

bool Pipeline::send_outgoing() {
    std::vector<Outgoing> outgoing;
    {
        const std::lock_guard lock(mutex_);
        outgoing.swap(outgoing_);
    }
    for (Outgoing& message : outgoing) {
        send(message.destination,
             message.channel,
             std::move(message.message),
             message.channel.kind == MessageKind::activation
                 ? &forward_clock_
                 : &backward_clock_);
    }
    return !outgoing.empty();
}

std::vector<at::Tensor> Pipeline::decode(const Run& run,
                                         MessageKind kind,
                                         std::uint32_t micro_batch,
                                         const std::vector<ValueId>& values,
                                         std::vector<Buffer> messages) {
    const auto scope = compute_.timer().measure("decode");
    std::vector<at::Tensor> tensors;
    for (std::size_t i = 0; i < values.size(); ++i) {
        MessageHeader expected;
        expected.kind = kind;
        expected.step = run.step;
        expected.micro_batch = micro_batch;
        expected.value = values[i].get();
        expected.type = graph_.value(values[i]).type;
        const FenceKey key = run.fence_key(cut_from(kind), kind, expected);
        tensors.push_back(
            has_fence(run, key)
                ? stage_.fences().decode(key, messages[i], expected)
                : decode_message(
                      std::move(messages[i]), expected, stage_.device()));
    }
    return tensors;
}

bool Pipeline::has_fence(const Run& run, const FenceKey& key) const {
    return run.codecs == CodecUse::on &&
           stage_.fences().has(key.cut, key.value);
}

std::size_t Pipeline::cut_to(MessageKind kind) const {
    const OpRange& ops = stage_.slice().ops;
    return kind == MessageKind::activation ? ops.end : ops.begin;
}

std::size_t Pipeline::cut_from(MessageKind kind) const {
    const OpRange& ops = stage_.slice().ops;
    return kind == MessageKind::activation ? ops.begin : ops.end;
}

void Pipeline::encode(Run& run,
                      MessageKind kind,
                      std::uint32_t micro_batch,
                      const std::vector<ValueId>& values,
                      const std::vector<at::Tensor>& tensors) {
    const auto scope = compute_.timer().measure("encode");
    const bool is_forward = kind == MessageKind::activation;
    std::string& bad =
        is_forward ? run.result.bad_activation : run.result.bad_gradient;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (!is_forward && !graph_.has_gradient(values[i])) {
            continue;  // no gradient, no message
        }
        MessageHeader header;
        header.kind = kind;
        header.step = run.step;
        header.micro_batch = micro_batch;
        header.value = values[i].get();
        const FenceKey key = run.fence_key(cut_to(kind), kind, header);
        const bool is_encoded = has_fence(run, key);
        Buffer message = is_encoded
                             ? stage_.fences().encode(key, header, tensors[i])
                             : encode_message(header, tensors[i]);
        if (run.is_training && is_traced_ && tensors[i].defined() &&
            tensors[i].scalar_type() == at::kFloat &&
            is_traced_(values[i], run.step, micro_batch)) {
            run.result.traced.push_back(
                {values[i], key.direction, micro_batch, to_host(tensors[i])});
        }
        auto& sent = is_forward ? run.result.sent.activations
                                : run.result.sent.gradients;
        sent[micro_batch] += message.size();
        // Masked attention holds -inf on purpose; gradients never do.
        const Unwanted unwanted =
            is_forward ? Unwanted::nan : Unwanted::non_finite;
        if (bad.empty() && (is_encoded ? has_unwanted(tensors[i], unwanted)
                                       : has_unwanted(message, unwanted))) {
            bad = fmt::format(
                "{} '{}' of micro-batch {}",
                is_forward ? "boundary value" : "gradient of boundary value",
                graph_.value(values[i]).name,
                micro_batch);
        }
        const std::lock_guard lock(mutex_);
        outgoing_.push_back(
            {is_forward ? neighbours_.next : neighbours_.previous,
             {kind, values[i].get()},
             std::move(message)});
    }
}

void Pipeline::forward(Run& run,
                       std::uint32_t micro_batch,
                       std::vector<Buffer> messages,
                       const std::vector<HostTensor>& user_inputs) {
    const StageSlice& slice = stage_.slice();
    std::vector<at::Tensor> user_tensors;
    for (const HostTensor& input : user_inputs) {
        user_tensors.push_back(from_host(input, stage_.device()));
    }
    const auto inputs = decode(run,
                               MessageKind::activation,
                               micro_batch,
                               slice.inputs,
                               std::move(messages));
    std::vector<at::Tensor> outputs;
    {
        const auto scope =
            compute_.timer().measure(run.is_training ? "forward" : "evaluate");
        outputs =
            run.is_training
                ? stage_.forward({run.step, micro_batch}, inputs, user_tensors)
                : stage_.evaluate({run.step, micro_batch},
                                  run.codecs,
                                  inputs,
                                  user_tensors);
        if (stage_.has_loss()) {
            run.result.loss_sum += stage_.loss();
        }
    }
    encode(run, MessageKind::activation, micro_batch, slice.outputs, outputs);
}

void Pipeline::backward(Run& run,
                        std::uint32_t micro_batch,
                        std::vector<Buffer> messages) {
    const StageSlice& slice = stage_.slice();
    const auto received = decode(run,
                                 MessageKind::gradient,
                                 micro_batch,
                                 run.values_with_gradient,
                                 std::move(messages));
    std::vector<at::Tensor> gradients(slice.outputs.size());
    for (std::size_t i = 0, k = 0; i < gradients.size(); ++i) {
        if (graph_.has_gradient(slice.outputs[i])) {
            gradients[i] = received[k++];
        }
    }
    std::vector<at::Tensor> results;
    {
        const auto scope = compute_.timer().measure("backward");
        results = stage_.backward({run.step, micro_batch}, gradients);
    }
    encode(run, MessageKind::gradient, micro_batch, slice.inputs, results);
}

bool Pipeline::submit_ready(Run& run) {
    if (run.next_action == run.actions.size() ||
        compute_.num_pending() >= max_actions_ahead) {
        return false;
    }
    const Action action = run.actions[run.next_action];
    const bool is_forward = action.kind == ActionKind::forward;
    auto& queues = is_forward ? run.activations : run.gradients;
    if (!std::ranges::all_of(queues, &ReceiveQueue::has_message)) {
        return false;
    }
    // A task must be copyable; its messages are not.
    const auto messages = std::make_shared<std::vector<Buffer>>();
    for (ReceiveQueue& queue : queues) {
        messages->push_back(queue.take());
    }
    const std::uint32_t m = action.microbatch.get();
    std::vector<HostTensor> user_inputs;
    if (is_forward && !stage_.slice().user_inputs.empty()) {
        user_inputs = run.make_inputs(m);
    }
    compute_.submit([this, &run, action, m, messages, user_inputs] {
        if (on_action_ && run.is_training) {
            on_action_(action);
        }
        if (action.kind == ActionKind::forward) {
            forward(run, m, std::move(*messages), user_inputs);
        } else {
            backward(run, m, std::move(*messages));
        }
    });
    ++run.next_action;
    return true;
}

PipelineResult Pipeline::execute(Run& run) {
    const StageSlice& slice = stage_.slice();
    const auto num_forwards = static_cast<int>(
        std::ranges::count(run.actions, ActionKind::forward, &Action::kind));
    run.result.sent.activations.resize(num_forwards);
    run.result.sent.gradients.resize(num_forwards);
    const int window = largest_in_flight(run.actions) + 1;
    const auto queue = [&](int source, MessageKind kind, ValueId value) {
        return ReceiveQueue(
            transport_,
            source,
            {kind, value.get()},
            stage_.fences().max_message_bytes(cut_from(kind), value),
            num_forwards,
            window);
    };
    for (const ValueId value : slice.inputs) {
        run.activations.push_back(
            queue(neighbours_.previous, MessageKind::activation, value));
    }
    for (const ValueId value : slice.outputs) {
        if (run.is_training && graph_.has_gradient(value)) {
            run.values_with_gradient.push_back(value);
            run.gradients.push_back(
                queue(neighbours_.next, MessageKind::gradient, value));
        }
    }
    const TasksEndFirst tasks_end_first(compute_);
    wait_.reset();
    while (run.next_action < run.actions.size() || compute_.num_pending() > 0) {
        compute_.rethrow();
        bool has_progress = send_outgoing();
        for (ReceiveQueue& receive : run.activations) {
            has_progress |= receive.progress();
        }
        for (ReceiveQueue& receive : run.gradients) {
            has_progress |= receive.progress();
        }
        has_progress |= submit_ready(run);
        has_progress |= progress_sends();
        if (has_progress) {
            wait_.reset();
        } else {
            wait_.idle();
        }
    }
    compute_.rethrow();
    send_outgoing();
    run.result.forward_busy_s = forward_clock_.take_s();
    run.result.backward_busy_s = backward_clock_.take_s();
    return run.result;
}

PipelineResult Pipeline::train(const std::vector<Action>& actions,
                               std::uint64_t step,
                               const MakeInputs& make_inputs) {
    Run run;
    run.actions = actions;
    run.step = step;
    run.make_inputs = make_inputs;
    return execute(run);
}

PipelineResult Pipeline::evaluate(int micro_batches,
                                  std::uint64_t step,
                                  CodecUse codecs,
                                  const MakeInputs& make_inputs) {
    Run run;
    run.actions = make_forward_only(1, micro_batches).actions.front();
    run.step = step;
    run.is_training = false;
    run.codecs = codecs;
    run.make_inputs = make_inputs;
    return execute(run);
}

}  // namespace fusionllm
