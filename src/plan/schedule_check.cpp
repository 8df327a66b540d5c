#include <algorithm>
#include <optional>

#include "fusionllm/plan/run_by_stages.hpp"
#include "fusionllm/plan/schedule.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

using Count = std::uint32_t;

Action make_action(ActionKind kind, Count microbatch) {
    return {kind, MicrobatchId(microbatch)};
}

//! The stage's actions of a kind are micro-batches 0, 1, ..., num - 1.
void check_order(const Schedule& schedule,
                 std::size_t stage,
                 ActionKind kind,
                 std::uint64_t num) {
    const auto& actions = schedule.actions[stage];
    Count expected = 0;
    for (const Action& action : actions) {
        if (action.kind != kind) {
            continue;
        }
        const Action next = make_action(kind, expected);
        FUSIONLLM_VALIDATE(
            action.microbatch >= next.microbatch,
            "the schedule's stage {} runs {} twice; every action runs once a "
            "step",
            stage,
            to_text(action));
        if (action == next) {
            ++expected;
            continue;
        }
        FUSIONLLM_VALIDATE(
            std::ranges::find(actions, next) == actions.end(),
            "the schedule's stage {} runs {} before {}; micro-batches run in "
            "ascending order, or sums would depend on the schedule",
            stage,
            to_text(action),
            to_text(next));
        break;
    }
    FUSIONLLM_VALIDATE(expected == num,
                       "the schedule's stage {} never runs {}; every stage "
                       "runs every micro-batch once",
                       stage,
                       to_text(make_action(kind, expected)));
}

//! What a stage waits for: an action of a stage, perhaps its own.
struct Wait {
    std::size_t stage;
    Action action;
};

/*!
 * How far every stage has come. Since forwards, and backwards, are ascending,
 * two counts a stage say all of it.
 */
class SymbolicRun {
public:
    explicit SymbolicRun(const Schedule& schedule)
        : schedule_(schedule), state_(schedule.actions.size()) {}

    void run() {
        run_by_stages(state_.size(),
                      [this](std::size_t stage) { return advance(stage); });
    }

    bool is_done(std::size_t stage) const {
        return state_[stage].next == schedule_.actions[stage].size();
    }

    //! What the next action of an unfinished stage waits for.
    std::optional<Wait> find_wait(std::size_t stage) const {
        const Action action = schedule_.actions[stage][state_[stage].next];
        const Count m = action.microbatch.get();
        if (action.kind == ActionKind::forward) {
            if (stage > 0 && state_[stage - 1].forwards <= m) {
                return Wait{stage - 1, action};
            }
            return std::nullopt;
        }
        if (state_[stage].forwards <= m) {
            return Wait{stage, make_action(ActionKind::forward, m)};
        }
        if (stage + 1 < state_.size() && state_[stage + 1].backwards <= m) {
            return Wait{stage + 1, action};
        }
        return std::nullopt;
    }

private:
    struct State {
        std::size_t next = 0;
        Count forwards = 0;
        Count backwards = 0;
    };

    //! Run what the stage can run; true if that was anything.
    bool advance(std::size_t stage) {
        bool has_moved = false;
        while (!is_done(stage) && !find_wait(stage)) {
            State& state = state_[stage];
            const Action action = schedule_.actions[stage][state.next++];
            ++(action.kind == ActionKind::forward ? state.forwards
                                                  : state.backwards);
            has_moved = true;
        }
        return has_moved;
    }

    const Schedule& schedule_;
    std::vector<State> state_;
};

//! "stage 1 waits for B0 from stage 2, which waits for F1 from stage 1"
std::string explain(const SymbolicRun& run,
                    std::size_t stage,
                    std::size_t num_stages) {
    std::string text = fmt::format("stage {}", stage);
    std::vector<bool> is_told(num_stages, false);
    while (!is_told[stage]) {
        is_told[stage] = true;
        const Wait wait = run.find_wait(stage).value();
        text += fmt::format(
            "{} waits for {} from {}",
            std::ranges::count(is_told, true) > 1 ? ", which" : "",
            to_text(wait.action),
            wait.stage == stage ? "itself"
                                : fmt::format("stage {}", wait.stage));
        stage = wait.stage;
    }
    return text;
}

}  // namespace

void check(const Schedule& schedule) {
    std::uint64_t num = 0;
    bool has_backwards = false;
    for (const auto& actions : schedule.actions) {
        for (const Action& action : actions) {
            num = std::max(num, std::uint64_t{action.microbatch.get()} + 1);
            has_backwards =
                has_backwards || action.kind == ActionKind::backward;
        }
    }
    FUSIONLLM_VALIDATE(num > 0,
                       "the schedule runs nothing; it needs at least one "
                       "stage and one forward");
    const std::size_t num_stages = schedule.actions.size();
    for (std::size_t s = 0; s < num_stages; ++s) {
        check_order(schedule, s, ActionKind::forward, num);
        check_order(schedule, s, ActionKind::backward, has_backwards ? num : 0);
    }
    SymbolicRun run(schedule);
    run.run();
    for (std::size_t s = 0; s < num_stages; ++s) {
        FUSIONLLM_VALIDATE(run.is_done(s),
                           "the schedule deadlocks: {}",
                           explain(run, s, num_stages));
    }
}

}  // namespace fusionllm
