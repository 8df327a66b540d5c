#include "step_record.hpp"

#include <algorithm>
#include <tuple>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

constexpr double not_yet = -1;

bool has_backward(const Schedule& schedule) {
    const auto is_backward = [](const Action& action) {
        return action.kind == ActionKind::backward;
    };
    return !schedule.actions.empty() &&
           std::ranges::any_of(schedule.actions.front(), is_backward);
}

std::vector<LinkUse> unused(const std::vector<UsedLink>& links) {
    std::vector<LinkUse> uses;
    for (const UsedLink& link : links) {
        uses.push_back({link.from, link.to, 0, 0});
    }
    return uses;
}

}  // namespace

StepRecord::StepRecord(const Schedule& schedule,
                       const StepCosts& costs,
                       const StepLinks& links,
                       std::size_t micro_batches,
                       Timeline* timeline)
    : schedule_(schedule),
      costs_(costs),
      links_(links),
      micro_batches_(micro_batches),
      timeline_(timeline),
      has_backwards_(has_backward(schedule)),
      stages_(costs.stages.size()),
      forward_in_s_(stages_.size() * micro_batches, not_yet),
      backward_in_s_(stages_.size() * micro_batches, not_yet) {
    std::fill_n(forward_in_s_.begin(), micro_batches, 0.0);
    if (timeline_ != nullptr) {
        timeline_->busy_s.assign(stages_.size(), 0);
        timeline_->links = unused(links.links);
    }
}

double StepRecord::next_input_s(std::size_t stage) const {
    const Action action = schedule_.actions[stage][stages_[stage].next];
    const auto& in =
        action.kind == ActionKind::forward ? forward_in_s_ : backward_in_s_;
    return in[at(stage, action.microbatch)];
}

bool StepRecord::can_run(std::size_t stage) const {
    return !is_done(stage) && next_input_s(stage) >= 0;
}

double StepRecord::run_next(std::size_t stage) {
    StageState& state = stages_[stage];
    const double begin_s = std::max(state.free_s, next_input_s(stage));
    const Action action = schedule_.actions[stage][state.next++];
    const bool is_forward = action.kind == ActionKind::forward;
    const StageSeconds& seconds = costs_.stages[stage];
    const double took_s = is_forward ? seconds.forward_s : seconds.backward_s;
    state.free_s = begin_s + took_s;
    if (is_forward && stage + 1 == stages_.size()) {
        backward_in_s_[at(stage, action.microbatch)] = state.free_s;
    }
    if (timeline_ != nullptr) {
        timeline_->busy_s[stage] += took_s;
        timeline_->spans.push_back(
            {is_forward ? Span::Kind::forward : Span::Kind::backward,
             stage,
             action.microbatch.get(),
             begin_s,
             state.free_s,
             state.free_s});
    }
    return state.free_s;
}

std::optional<Message> StepRecord::message_after(std::size_t stage) const {
    const Action action = last_action(stage);
    const std::uint32_t m = action.microbatch.get();
    const auto s = static_cast<std::uint32_t>(stage);
    if (action.kind == ActionKind::forward) {
        return stage + 1 < stages_.size()
                   ? std::optional(Message{Span::Kind::send_activation, s, m})
                   : std::nullopt;
    }
    return stage > 0
               ? std::optional(Message{Span::Kind::send_gradient, s - 1, m})
               : std::nullopt;
}

std::size_t StepRecord::receive(const Message& message,
                                const Transfer& transfer) {
    const std::size_t link = links_.route(message.kind, message.index).link;
    if (timeline_ != nullptr && link != Route::no_link) {
        timeline_->links[link].bytes += bytes_of(message);
        timeline_->links[link].busy_s += transfer.sent_s - transfer.begin_s;
        timeline_->spans.push_back({message.kind,
                                    message.index,
                                    message.microbatch,
                                    transfer.begin_s,
                                    transfer.end_s,
                                    transfer.sent_s});
    }
    const MicrobatchId microbatch(message.microbatch);
    if (message.kind == Span::Kind::send_activation) {
        const std::size_t stage = message.index + 1;
        forward_in_s_[at(stage, microbatch)] = transfer.end_s;
        return stage;
    }
    if (message.kind == Span::Kind::send_gradient) {
        backward_in_s_[at(message.index, microbatch)] = transfer.end_s;
        return message.index;
    }
    for (const std::size_t stage : links_.receivers[message.index]) {
        double& from_s = stages_[stage].update_from_s;
        from_s = std::max(from_s, transfer.end_s);
    }
    return links_.receivers[message.index].front();
}

double StepRecord::given_s(std::size_t parameter_gradient) const {
    double given_s = 0;
    for (const std::size_t stage : links_.senders[parameter_gradient]) {
        given_s = std::max(given_s, stages_[stage].free_s);
    }
    return given_s;
}

double StepRecord::update(std::size_t stage) {
    const StageState& state = stages_[stage];
    const double begin_s = std::max(state.free_s, state.update_from_s);
    const double took_s = costs_.stages[stage].update_s;
    if (timeline_ != nullptr) {
        timeline_->busy_s[stage] += took_s;
        timeline_->spans.push_back({Span::Kind::update,
                                    stage,
                                    0,
                                    begin_s,
                                    begin_s + took_s,
                                    begin_s + took_s});
    }
    return begin_s + took_s;
}

double StepRecord::finish() {
    double makespan_s = 0;
    for (std::size_t s = 0; s < stages_.size(); ++s) {
        if (!is_done(s)) {
            check(schedule_);
        }
        makespan_s = std::max(makespan_s,
                              has_backwards_ ? update(s) : stages_[s].free_s);
    }
    if (timeline_ != nullptr) {
        timeline_->makespan_s = makespan_s;
        std::ranges::sort(timeline_->spans, {}, [](const Span& span) {
            return std::tuple(
                span.begin_s, span.kind, span.index, span.microbatch);
        });
    }
    return makespan_s;
}

}  // namespace fusionllm
