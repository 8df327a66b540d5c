#include "fusionllm/sim/simulate.hpp"

#include <algorithm>

#include "fusionllm/plan/run_by_stages.hpp"
#include "fusionllm/util/error.hpp"

#include "shared_run.hpp"
#include "step_links.hpp"
#include "step_record.hpp"

namespace fusionllm {
namespace {

std::size_t count_micro_batches(const Schedule& schedule) {
    std::size_t num = 0;
    for (const auto& actions : schedule.actions) {
        for (const Action& action : actions) {
            num = std::max(num, std::size_t{action.microbatch.get()} + 1);
        }
    }
    return num;
}

/*!
 * Run the step stage by stage, each as far as its messages go. Where no line is
 * shared a link's messages depend on its sender alone, so time need not pass in
 * order: this is the longest path through actions and messages, linear in their
 * number.
 */
class IndependentRun {
public:
    IndependentRun(const StepLinks& links, StepRecord& record)
        : links_(links),
          record_(record),
          free_s_(links.links.size(), 0),
          in_s_(free_s_) {}

    void run() {
        run_by_stages(record_.num_stages(),
                      [this](std::size_t stage) { return advance(stage); });
        if (record_.has_updates()) {
            for (std::size_t p = 0; p < links_.senders.size(); ++p) {
                send({Span::Kind::send_parameter_gradient,
                      static_cast<std::uint32_t>(p),
                      0},
                     record_.given_s(p));
            }
        }
    }

private:
    bool advance(std::size_t stage) {
        bool has_moved = false;
        while (record_.can_run(stage)) {
            const double end_s = record_.run_next(stage);
            if (const auto message = record_.message_after(stage)) {
                send(*message, end_s);
            }
            has_moved = true;
        }
        return has_moved;
    }

    void send(const Message& message, double given_s) {
        const std::size_t link = links_.route(message.kind, message.index).link;
        if (link == Route::no_link) {
            record_.receive(message, {given_s, given_s, given_s});
            return;
        }
        const Link& alone = links_.links[link].link;
        const double bytes = record_.bytes_of(message);
        const double begin_s = std::max(free_s_[link], given_s);
        free_s_[link] = begin_s + bytes / alone.bandwidth_bytes_per_s;
        in_s_[link] =
            std::max(in_s_[link], free_s_[link] + latency_s(alone, bytes));
        record_.receive(message, {begin_s, free_s_[link], in_s_[link]});
    }

    const StepLinks& links_;
    StepRecord& record_;
    std::vector<double> free_s_;  // by link
    std::vector<double> in_s_;    // by link, of the last one: none overtakes
};

double run_step(const Schedule& schedule,
                const StepCosts& costs,
                const Network& network,
                Timeline* timeline) {
    FUSIONLLM_VALIDATE(
        schedule.actions.size() == costs.stages.size(),
        "the schedule has {} stages, but there are costs of {}; both have to "
        "be of one plan",
        schedule.actions.size(),
        costs.stages.size());
    const std::size_t micro_batches = count_micro_batches(schedule);
    const StepLinks links = find_links(costs, network, micro_batches);
    StepRecord record(schedule, costs, links, micro_batches, timeline);
    FUSIONLLM_VALIDATE(!record.has_updates() ||
                           costs.backward.size() + 1 == costs.stages.size(),
                       "the schedule has backwards, but the costs have no "
                       "backward crossings; give one between every two stages");
    if (links.is_independent) {
        IndependentRun(links, record).run();
    } else {
        run_on_shared_lines(costs, links, network, record);
    }
    return record.finish();
}

}  // namespace

Timeline simulate(const Schedule& schedule,
                  const StepCosts& costs,
                  const Network& network) {
    Timeline timeline;
    run_step(schedule, costs, network, &timeline);
    return timeline;
}

double simulate_step_s(const Schedule& schedule,
                       const StepCosts& costs,
                       const Network& network) {
    return run_step(schedule, costs, network, nullptr);
}

}  // namespace fusionllm
