#include "fusionllm/runtime/pipeline.hpp"

#include <algorithm>
#include <memory>
#include <thread>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/timing.hpp"

#include "receive_queue.hpp"

namespace fusionllm {
namespace {

// One action runs and one waits behind it, so the compute thread never waits
// for the main thread; more would only hold buffers earlier.
constexpr std::size_t max_actions_ahead = 2;

// Two actions as above, and two on their way.
constexpr std::size_t max_forwards_ahead = 4;
// Short messages may be as many as a long link holds: 1 Gbit/s for 67 ms.
constexpr std::uint64_t max_bytes_ahead = 8 << 20;
constexpr Channel receipt_channel{MessageKind::control, 12};

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
    std::deque<ReceiveQueue> gradients;    // by outputs with a gradient
    PipelineResult result;                 // the compute thread's until the end
    //! Of an evaluation: by forward that was submitted and that the next stage
    //! has not taken.
    std::deque<Request> receipts;
    std::uint64_t ahead_bytes = 0;  // made and not taken; under the mutex
};

Pipeline::Pipeline(Transport& transport,
                   IdleWait& wait,
                   ComputeThread& compute,
                   const OpGraph& graph,
                   StageWork& work,
                   Neighbours neighbours)
    : transport_(transport),
      wait_(wait),
      compute_(compute),
      graph_(graph),
      work_(work),
      neighbours_(neighbours) {}

void Pipeline::send(int destination, Channel channel, Buffer message) {
    sends_.push_back(transport_.send(destination, channel, std::move(message)));
}

bool Pipeline::progress_sends() {
    return std::erase_if(sends_,
                         [](Request& request) { return request.test(); }) > 0;
}

bool Pipeline::send_outgoing() {
    std::vector<Outgoing> outgoing;
    {
        const std::lock_guard lock(mutex_);
        outgoing.swap(outgoing_);
    }
    for (Outgoing& message : outgoing) {
        send(message.destination, message.channel, std::move(message.message));
    }
    return !outgoing.empty();
}

WorkItem Pipeline::make_item(const Run& run, const Action& action) const {
    WorkItem item;
    item.action = action;
    item.step = run.step;
    item.use =
        run.is_training ? CodecKey::Use::training : CodecKey::Use::evaluation;
    item.codecs = run.codecs;
    if (is_traced_) {
        item.is_traced = [this, step = run.step, m = action.microbatch.get()](
                             ValueId value) {
            return is_traced_(value, step, m);
        };
    }
    item.ready_s = monotonic_s();
    return item;
}

void Pipeline::work(Run& run, WorkItem item) {
    const bool is_forward = item.is_forward();
    const std::uint32_t m = item.micro_batch();
    auto made = work_.run(std::move(item), run.result);
    auto& sent =
        is_forward ? run.result.sent.activations : run.result.sent.gradients;
    const std::lock_guard lock(mutex_);
    for (MadeMessage& message : made) {
        sent[m] += message.message.size();
        run.ahead_bytes += message.message.size();
        outgoing_.push_back(
            {is_forward ? neighbours_.next : neighbours_.previous,
             {is_forward ? MessageKind::activation : MessageKind::gradient,
              message.value.get()},
             std::move(message.message)});
    }
}

bool Pipeline::submit_ready(Run& run) {
    if (run.next_action == run.actions.size() ||
        compute_.num_pending() >= max_actions_ahead || is_far_ahead(run)) {
        return false;
    }
    const Action action = run.actions[run.next_action];
    const bool is_forward = action.kind == ActionKind::forward;
    auto& queues = is_forward ? run.activations : run.gradients;
    if (!std::ranges::all_of(queues, &ReceiveQueue::has_message)) {
        return false;
    }
    // A task must be copyable; its messages are not.
    const auto item = std::make_shared<WorkItem>(make_item(run, action));
    for (ReceiveQueue& queue : queues) {
        item->messages.push_back(queue.take());
    }
    if (!run.is_training) {
        if (!queues.empty()) {
            send(neighbours_.previous, receipt_channel, Buffer());
        }
        if (neighbours_.next >= 0 && !work_.slice().outputs.empty()) {
            run.receipts.push_back(
                transport_.receive(neighbours_.next, receipt_channel, 0));
        }
    }
    if (is_forward && !work_.slice().user_inputs.empty()) {
        item->user_inputs = run.make_inputs(item->micro_batch());
    }
    compute_.submit([this, &run, item] {
        if (on_action_ && run.is_training) {
            on_action_(item->action);
        }
        work(run, std::move(*item));
    });
    ++run.next_action;
    return true;
}

bool Pipeline::is_far_ahead(const Run& run) {
    if (run.receipts.size() < max_forwards_ahead) {
        return false;
    }
    const std::lock_guard lock(mutex_);
    return run.ahead_bytes >= max_bytes_ahead;
}

bool Pipeline::progress_receipts(Run& run) {
    bool has_progress = false;
    while (!run.receipts.empty() && run.receipts.front().test()) {
        const std::size_t m = run.next_action - run.receipts.size();
        run.receipts.pop_front();
        has_progress = true;
        const std::lock_guard lock(mutex_);
        run.ahead_bytes -= run.result.sent.activations[m];
    }
    return has_progress;
}

void Pipeline::look_at_links(const Run& run) {
    const double now_s = monotonic_s();
    const auto look = [&](const std::deque<ReceiveQueue>& queues,
                          int source,
                          ArrivalClock& clock) {
        if (!queues.empty()) {
            clock.look(now_s,
                       transport_.received_bytes(source),
                       std::ranges::any_of(queues, &ReceiveQueue::is_inside));
        }
    };
    look(run.activations, neighbours_.previous, activation_clock_);
    look(run.gradients, neighbours_.next, gradient_clock_);
}

std::optional<Awaited> Pipeline::find_awaited(const Run& run) {
    if (compute_.num_pending() > 0) {
        return std::nullopt;  // what it computes is what takes long
    }
    if (run.next_action == run.actions.size() || is_far_ahead(run)) {
        return Awaited{.kind = MessageKind::control,
                       .micro_batch = static_cast<std::uint32_t>(
                           run.next_action - run.receipts.size()),
                       .from_rank = neighbours_.next,
                       .is_receipt = true};
    }
    const Action& action = run.actions[run.next_action];
    const bool is_forward = action.kind == ActionKind::forward;
    return Awaited{is_forward ? MessageKind::activation : MessageKind::gradient,
                   action.microbatch.get(),
                   is_forward ? neighbours_.previous : neighbours_.next};
}

PipelineResult Pipeline::execute(Run& run) {
    const StageSlice& slice = work_.slice();
    const auto num_forwards = static_cast<int>(
        std::ranges::count(run.actions, ActionKind::forward, &Action::kind));
    run.result.sent.activations.resize(num_forwards);
    run.result.sent.gradients.resize(num_forwards);
    const int window = largest_in_flight(run.actions) + 1;
    const auto queue = [&](int source, MessageKind kind, ValueId value) {
        return ReceiveQueue(transport_,
                            source,
                            {kind, value.get()},
                            work_.max_message_bytes(kind, value),
                            num_forwards,
                            window);
    };
    for (const ValueId value : slice.inputs) {
        run.activations.push_back(
            queue(neighbours_.previous, MessageKind::activation, value));
    }
    if (run.is_training) {
        for (const ValueId value : with_gradient(graph_, slice.outputs)) {
            run.gradients.push_back(
                queue(neighbours_.next, MessageKind::gradient, value));
        }
    }
    const TasksEndFirst tasks_end_first(compute_);
    wait_.reset();
    while (run.next_action < run.actions.size() || compute_.num_pending() > 0 ||
           !run.receipts.empty()) {
        compute_.rethrow();
        bool has_progress = send_outgoing();
        for (ReceiveQueue& receive : run.activations) {
            has_progress |= receive.progress();
        }
        for (ReceiveQueue& receive : run.gradients) {
            has_progress |= receive.progress();
        }
        look_at_links(run);
        has_progress |= progress_receipts(run);
        has_progress |= submit_ready(run);
        has_progress |= progress_sends();
        if (has_progress) {
            wait_.reset();
        } else if (const auto awaited = find_awaited(run)) {
            wait_.idle(*awaited);
        } else {
            wait_.idle();
        }
    }
    compute_.rethrow();
    send_outgoing();
    run.result.links.activations = activation_clock_.take();
    run.result.links.gradients = gradient_clock_.take();
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
