#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "fusionllm/plan/fence.hpp"
#include "fusionllm/plan/step_costs.hpp"
#include "fusionllm/runtime/rank_role.hpp"
#include "fusionllm/runtime/stage_work.hpp"
#include "fusionllm/util/timing.hpp"

namespace fusionllm {

/*!
 * When a stage's actions end that take the time of another device.
 *
 * An action begins when its messages are in and the one before should have
 * ended; being woken late does not add up.
 */
class Pace {
public:
    //! Sleep to the end of an action. Throws `InputError` if the stage cannot
    //! keep up.
    void finish(double ready_s, double seconds);

private:
    double free_s_ = 0;  // when the last action should have ended
    double due_s_ = 0;
    double late_s_ = 0;
};

/*!
 * Takes the time that a stage would on its device, and makes messages of the
 * same bytes without its numbers.
 */
class WaitingWork final : public StageWork {
public:
    WaitingWork(const OpGraph& graph,
                OpRange ops,
                BasisSchedule bases,
                SectionTimer& timer);

    //! From the next step on.
    void set(std::vector<Fence> fences, const StageSeconds& seconds);

    const StageSlice& slice() const override { return slice_; }
    std::size_t max_message_bytes(MessageKind kind,
                                  ValueId value) const override;
    std::vector<MadeMessage> run(WorkItem item,
                                 PipelineResult& result) override;
    //! What comes after the actions; on the compute thread.
    void update();

private:
    MessageHeader make_header(const WorkItem& item, ValueId value) const;
    const Fence* find_fence(std::size_t cut, ValueId value) const;
    void check(const WorkItem& item) const;
    const OpGraph& graph_;
    StageSlice slice_;
    BasisSchedule bases_;
    SectionTimer& timer_;
    std::vector<Fence> fences_;
    StageSeconds seconds_;
    Pace pace_;
};

/*!
 * Computes, and takes the rest of the time that another device would.
 */
class PacedWork final : public StageWork {
public:
    PacedWork(std::unique_ptr<StageWork> work, SectionTimer& timer)
        : work_(std::move(work)), timer_(timer) {}

    //! From the next step on.
    void set(const StageSeconds& seconds) { seconds_ = seconds; }

    const StageSlice& slice() const override { return work_->slice(); }
    std::size_t max_message_bytes(MessageKind kind,
                                  ValueId value) const override {
        return work_->max_message_bytes(kind, value);
    }
    std::vector<MadeMessage> run(WorkItem item,
                                 PipelineResult& result) override;
    //! After an update that began then; on the compute thread.
    void finish_update(double begin_s);

private:
    std::unique_ptr<StageWork> work_;
    SectionTimer& timer_;
    StageSeconds seconds_;
    Pace pace_;
};

/*!
 * The messages of `GradientExchange` without numbers: every holder of a shared
 * parameter sends one for each of its uses to each of the others.
 */
class WaitingExchange {
public:
    WaitingExchange(const OpGraph& graph,
                    const Plan& plan,
                    const RankRole& role,
                    const StageSlice& slice);

    //! Adds to `sent`, by destination rank, the bytes of the messages.
    void run(Transport& transport,
             IdleWait& wait,
             Pipeline& pipeline,
             std::map<int, std::uint64_t>& sent) const;

private:
    struct Message {
        int rank;            // the other one
        std::uint32_t slot;  // of the use
        std::size_t num_bytes;
    };
    std::vector<Message> incoming_;
    std::vector<Message> outgoing_;
};

}  // namespace fusionllm
