#include "waiting_work.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>
#include <set>
#include <thread>

#include "fusionllm/comm/shaped_transport.hpp"
#include "fusionllm/runtime/gradient_exchange.hpp"
#include "fusionllm/runtime/message.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

void sleep_until(double end_s) {
    // The clock's zero is nobody's business, so what is left is slept; twice,
    // for a sleep may end early.
    while (true) {
        const double left_s = end_s - monotonic_s();
        if (left_s <= 0) {
            return;
        }
        std::this_thread::sleep_for(std::chrono::duration<double>(left_s));
    }
}

Buffer make_blank(const MessageHeader& header) {
    Buffer message(header_bytes + header.payload_bytes);
    std::ranges::copy(encode_header(header), message.data());
    std::memset(message.data() + header_bytes, 0, header.payload_bytes);
    return message;
}

}  // namespace

void Pace::finish(double ready_s, double seconds) {
    const double end_s = std::max(free_s_, ready_s) + seconds;
    const double now_s = monotonic_s();
    free_s_ = std::max(end_s, now_s);
    due_s_ += seconds;
    late_s_ += free_s_ - end_s;
    check_pace(due_s_, late_s_, "the actions of a stage end");
    sleep_until(end_s);
}

WaitingWork::WaitingWork(const OpGraph& graph,
                         OpRange ops,
                         BasisSchedule bases,
                         SectionTimer& timer)
    : graph_(graph),
      slice_(make_slice(graph, ops)),
      bases_(bases),
      timer_(timer) {
    slice_.user_inputs.clear();  // nobody reads them
}

void WaitingWork::set(std::vector<Fence> fences, const StageSeconds& seconds) {
    fences_ = std::move(fences);
    seconds_ = seconds;
}

const Fence* WaitingWork::find_fence(std::size_t cut, ValueId value) const {
    const auto found = std::ranges::find_if(fences_, [&](const Fence& fence) {
        return fence.cut == cut && fence.value == value;
    });
    return found == fences_.end() ? nullptr : &*found;
}

std::size_t WaitingWork::max_message_bytes(MessageKind kind,
                                           ValueId value) const {
    const std::size_t dense = dense_message_bytes(graph_.value(value).type);
    const std::size_t cut =
        kind == MessageKind::activation ? slice_.ops.begin : slice_.ops.end;
    const Fence* const fence = find_fence(cut, value);
    if (fence == nullptr) {
        return dense;
    }
    const MatrixShape shape = shape_of(graph_, value);
    const CodecPair pair = resolve(fence->codec, shape);
    return std::max({dense,
                     encoded_message_bytes(pair.forward, shape) +
                         basis_bytes(fence->codec, shape),
                     encoded_message_bytes(pair.backward, shape)});
}

MessageHeader WaitingWork::make_header(const WorkItem& item,
                                       ValueId value) const {
    MessageHeader header;
    header.kind =
        item.is_forward() ? MessageKind::activation : MessageKind::gradient;
    header.step = item.step;
    header.micro_batch = item.micro_batch();
    header.value = value.get();
    header.type = graph_.value(value).type;
    header.stride_order.resize(header.type.sizes.size());
    std::iota(header.stride_order.begin(),
              header.stride_order.end(),
              std::uint8_t{0});
    header.payload_bytes = num_bytes(header.type);
    const Fence* const fence = find_fence(
        item.is_forward() ? slice_.ops.end : slice_.ops.begin, value);
    if (fence != nullptr) {
        const MatrixShape shape = shape_of(graph_, value);
        header.codec = resolve(fence->codec, shape)
                           .of(item.is_forward() ? Direction::forward
                                                 : Direction::backward);
        // As `FenceCodecs` has it.
        header.codec.carries_basis =
            header.codec.id == CodecId::subspace && item.is_forward() &&
            item.micro_batch() == 0 && bases_.is_due(item.step);
        header.payload_bytes = payload_bytes(header.codec, shape);
    }
    return header;
}

void WaitingWork::check(const WorkItem& item) const {
    const auto values = item.is_forward()
                            ? slice_.inputs
                            : with_gradient(graph_, slice_.outputs);
    for (std::size_t i = 0; i < values.size(); ++i) {
        MessageHeader expected;
        expected.kind =
            item.is_forward() ? MessageKind::activation : MessageKind::gradient;
        expected.step = item.step;
        expected.micro_batch = item.micro_batch();
        expected.value = values[i].get();
        expected.type = graph_.value(values[i]).type;
        check_expected(decode_header(item.messages[i].span()), expected);
    }
}

std::vector<MadeMessage> WaitingWork::run(WorkItem item,
                                          PipelineResult& /*result*/) {
    const auto scope =
        timer_.measure(item.is_forward() ? "forward" : "backward");
    check(item);
    std::vector<MadeMessage> made;
    for (const ValueId value : item.is_forward()
                                   ? slice_.outputs
                                   : with_gradient(graph_, slice_.inputs)) {
        made.push_back({value, make_blank(make_header(item, value))});
    }
    pace_.finish(item.ready_s,
                 item.is_forward() ? seconds_.forward_s : seconds_.backward_s);
    return made;
}

void WaitingWork::update() {
    pace_.finish(monotonic_s(), seconds_.update_s);
}

std::vector<MadeMessage> PacedWork::run(WorkItem item, PipelineResult& result) {
    const double ready_s = item.ready_s;
    const bool is_training = item.use == CodecKey::Use::training;
    const double seconds =
        item.is_forward() ? seconds_.forward_s : seconds_.backward_s;
    auto made = work_->run(std::move(item), result);
    if (is_training) {
        const auto scope = timer_.measure("pace");
        pace_.finish(ready_s, seconds);
    }
    return made;
}

void PacedWork::finish_update(double begin_s) {
    const auto scope = timer_.measure("pace");
    pace_.finish(begin_s, seconds_.update_s);
}

WaitingExchange::WaitingExchange(const OpGraph& graph,
                                 const Plan& plan,
                                 const RankRole& role,
                                 const StageSlice& slice) {
    // Slots as those of `GradientExchange`.
    std::uint32_t slot = 0;
    for (std::size_t p = 0; p < graph.signature().parameters.size(); ++p) {
        const auto uses = uses_of_parameter(graph, p);
        std::set<std::size_t> holders;
        for (const ParameterUse& use : uses) {
            holders.insert(stage_of(plan, use.op));
        }
        const std::size_t num_bytes = dense_message_bytes(
            graph.value(graph.signature().parameters[p].value).type);
        for (const ParameterUse& use : uses) {
            const std::size_t stage = stage_of(plan, use.op);
            const bool is_mine = std::ranges::find(slice.parameter_uses, use) !=
                                 slice.parameter_uses.end();
            for (const std::size_t holder : holders) {
                if (is_mine && holder != stage) {
                    outgoing_.push_back(
                        {role.rank_of_stage[holder], slot, num_bytes});
                } else if (!is_mine && holder == role.stage) {
                    incoming_.push_back(
                        {role.rank_of_stage[stage], slot, num_bytes});
                }
            }
            ++slot;
        }
    }
}

void WaitingExchange::run(Transport& transport,
                          IdleWait& wait,
                          Pipeline& pipeline,
                          std::map<int, std::uint64_t>& sent) const {
    std::vector<Request> requests;
    for (const Message& message : incoming_) {
        requests.push_back(
            transport.receive(message.rank,
                              {MessageKind::parameter_gradient, message.slot},
                              message.num_bytes));
    }
    for (const Message& message : outgoing_) {
        Buffer blank(message.num_bytes);
        std::memset(blank.data(), 0, blank.size());
        sent[message.rank] += blank.size();
        pipeline.send(message.rank,
                      {MessageKind::parameter_gradient, message.slot},
                      std::move(blank));
    }
    for (std::size_t i = 0; i < requests.size(); ++i) {
        wait.reset();
        while (!requests[i].test()) {
            if (!pipeline.progress_sends()) {
                wait.idle(
                    {MessageKind::parameter_gradient, 0, incoming_[i].rank});
            }
        }
    }
}

}  // namespace fusionllm
