#include "fusionllm/runtime/long_wait.hpp"

#include <algorithm>

namespace fusionllm {
namespace {

Action action_of(const Awaited& awaited) {
    return {awaited.kind == MessageKind::activation ? ActionKind::forward
                                                    : ActionKind::backward,
            MicrobatchId(awaited.micro_batch)};
}

bool is_of_pipeline(const Awaited& awaited) {
    return awaited.kind == MessageKind::activation ||
           awaited.kind == MessageKind::gradient;
}

//! Whether somebody who waits for `now` ran the action that makes `message`.
bool has_run(const std::vector<Action>& actions,
             const Awaited& message,
             const Awaited& now) {
    const auto made = std::ranges::find(actions, action_of(message));
    return made < std::ranges::find(actions, action_of(now));
}

//! Whether the message is on its way, though its sender waits too.
bool has_sent(const LongWait& sender,
              const LongWait& receiver,
              const Schedule& schedule,
              const std::vector<int>& stage_of_rank) {
    if (sender.step != receiver.step) {
        return sender.step > receiver.step;
    }
    const Awaited& message = receiver.awaited;
    const Awaited& now = sender.awaited;
    if (is_of_pipeline(message) && is_of_pipeline(now)) {
        const int stage = stage_of_rank.at(
            static_cast<std::size_t>(receiver.awaited.from_rank));
        return stage >= 0 &&
               has_run(schedule.actions.at(static_cast<std::size_t>(stage)),
                       message,
                       now);
    }
    if (message.is_receipt) {
        // Whoever waits for a report or decision has taken all forwards.
        return now.kind == MessageKind::control && !now.is_of_trial &&
               !now.is_receipt;
    }
    if (message.is_of_trial) {
        return now.is_of_trial;
    }
    if (message.kind == MessageKind::control) {
        // Rank 0 sends its decision after the last report, the others wait for
        // it after theirs.
        return now.kind == MessageKind::control && !now.is_of_trial &&
               !now.is_receipt && sender.rank != 0;
    }
    return !is_of_pipeline(now);
}

}  // namespace

LongWait find_cause(const std::map<int, LongWait>& waits,
                    int rank,
                    const Schedule& schedule,
                    const std::vector<int>& stage_of_rank) {
    const LongWait* wait = &waits.at(rank);
    for (std::size_t i = 0; i < waits.size(); ++i) {
        const auto sender = waits.find(wait->awaited.from_rank);
        if (sender == waits.end() ||
            has_sent(sender->second, *wait, schedule, stage_of_rank)) {
            break;
        }
        wait = &sender->second;
    }
    return *wait;
}

}  // namespace fusionllm
