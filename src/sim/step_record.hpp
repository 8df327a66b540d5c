#pragma once

#include <optional>
#include <vector>

#include "fusionllm/plan/schedule.hpp"
#include "fusionllm/sim/timeline.hpp"

#include "step_links.hpp"

namespace fusionllm {

//! A message of the step: a kind, which crossing of that kind, and of what.
struct Message {
    Span::Kind kind = Span::Kind::send_activation;
    std::uint32_t index = 0;
    std::uint32_t microbatch = 0;
};

//! When a message was on its link.
struct Transfer {
    double begin_s = 0;
    double sent_s = 0;
    double end_s = 0;
};

/*!
 * What has happened in a step: how far every stage is, which messages are in
 * and, if there is a timeline to write to, every span. The rules that both
 * engines share; they differ in how they pass time on links.
 */
class StepRecord {
public:
    //! \param timeline may be null; its spans are in order after `finish`.
    StepRecord(const Schedule& schedule,
               const StepCosts& costs,
               const StepLinks& links,
               std::size_t micro_batches,
               Timeline* timeline);

    std::size_t num_stages() const { return stages_.size(); }
    bool is_done(std::size_t stage) const {
        return stages_[stage].next == schedule_.actions[stage].size();
    }
    //! The stage has actions left, and what the next one needs is there.
    bool can_run(std::size_t stage) const;
    //! Run the next action as early as it can; returns its end.
    double run_next(std::size_t stage);
    //! The action that the stage ran last.
    Action last_action(std::size_t stage) const {
        return schedule_.actions[stage][stages_[stage].next - 1];
    }
    //! What that action sends.
    std::optional<Message> message_after(std::size_t stage) const;

    double bytes_of(const Message& message) const {
        return links_.route(message.kind, message.index)
            .crossing->bytes_of(message.microbatch);
    }
    //! The message has arrived; for activations and gradients returns the
    //! stage that waited for it.
    std::size_t receive(const Message& message, const Transfer& transfer);

    //! Gradients of parameters are sent at all.
    bool has_updates() const { return has_backwards_; }
    //! When the stages that send it had run all their actions.
    double given_s(std::size_t parameter_gradient) const;

    //! Updates; returns the makespan. Throws `InputError` naming the circle if
    //! a stage could not run all of its actions.
    double finish();

private:
    struct StageState {
        std::size_t next = 0;
        double free_s = 0;
        double update_from_s = 0;
    };

    std::size_t at(std::size_t stage, MicrobatchId microbatch) const {
        return stage * micro_batches_ + microbatch.get();
    }
    //! When the input of the stage's next action came; negative: not yet.
    double next_input_s(std::size_t stage) const;
    double update(std::size_t stage);

    const Schedule& schedule_;
    const StepCosts& costs_;
    const StepLinks& links_;
    std::size_t micro_batches_;
    Timeline* timeline_;
    bool has_backwards_;
    std::vector<StageState> stages_;
    std::vector<double> forward_in_s_;  // [stage * micro_batches + m]; < 0: no
    std::vector<double> backward_in_s_;
};

}  // namespace fusionllm
