#include "plan_search.hpp"

#include <algorithm>
#include <utility>

#include "fusionllm/plan/schedule_depth.hpp"
#include "fusionllm/plan/step_time.hpp"
#include "fusionllm/sim/simulate.hpp"

namespace fusionllm::detail {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
// Actions and messages that a search may simulate. Most placements are seen to
// take too long without: all of it takes a second or two.
constexpr double search_budget = 1e8;
// Of equal candidates, but for rounding, the first one stays.
constexpr double least_gain = 1 - 1e-9;
// Stronger codecs have to make the step that much shorter.
constexpr double least_gain_of_codecs = 0.98;
// Steps, times the price of their errors.
constexpr double about_as_good = 1.01;

std::vector<int> memory_limits(const CostModel& model,
                               const Placement& placement) {
    std::vector<int> limits;
    for (const StagePlacement& stage : placement.stages) {
        limits.push_back(model.max_in_flight(stage.devices.at(0), stage.ops));
    }
    return limits;
}

}  // namespace

void PlanSearch::offer(const Placement& placement,
                       const std::string& schedule) {
    offer(time(placement, schedule, infinity), schedule);
    if (rule_.has_target()) {
        offer(time(placement, schedule, {}, infinity), schedule);
    }
}

void PlanSearch::offer(const Candidate& other,
                       const std::vector<std::string>& schedules) {
    if (other.step_s == infinity) {
        return;
    }
    for (const std::string& schedule : schedules) {
        offer(other.placement, schedule);
    }
    keep(time(
        other.placement, other.schedule.request(), other.fences, infinity));
}

void PlanSearch::improve() {
    const Start start = std::exchange(start_, {});
    if (start.step_s == infinity) {
        return;
    }
    const Placement end = improve_placement(
        start.placement,
        model_.num_devices(),
        [&](const Placement& placement, double at_most_s) {
            Candidate candidate = time(placement, start.schedule, at_most_s);
            const double step_s = candidate.step_s;
            take_if_better(std::move(candidate));
            return step_s;
        },
        count_evaluations(start.placement));
    keep(time(end, start.schedule, infinity));
}

Candidate PlanSearch::best() const {
    const Candidate* least = &best_;
    double least_price = rule_.price(best_.fences);
    for (const Candidate& candidate : kept_) {
        const double price = rule_.price(candidate.fences);
        if (rule_.weighs_errors() && price < least_price &&
            candidate.step_s <= about_as_good * best_.step_s) {
            least = &candidate;
            least_price = price;
        }
    }
    return *least;
}

//! How many placements the budget lets look at.
std::size_t PlanSearch::count_evaluations(const Placement& placement) const {
    const double messages = 4.0 * request_.micro_batches *
                            static_cast<double>(placement.stages.size());
    return static_cast<std::size_t>(search_budget / messages /
                                    (rule_.has_codecs() ? 2 : 1));
}

void PlanSearch::offer(Candidate candidate, const std::string& schedule) {
    if (candidate.step_s < start_.step_s * least_gain) {
        start_ = {candidate.placement, schedule, candidate.step_s};
    }
    take_if_better(std::move(candidate));
}

void PlanSearch::keep(Candidate candidate) {
    kept_.push_back(candidate);
    take_if_better(std::move(candidate));
}

void PlanSearch::take_if_better(Candidate candidate) {
    if (candidate.step_s < best_.step_s * least_gain) {
        best_ = std::move(candidate);
    }
}

//! With the fences of the rule that suit the schedule best; a step that is
//! sure to take longer than `at_most_s` is not simulated, but has a lower
//! bound.
Candidate PlanSearch::time(const Placement& placement,
                           const std::string& schedule,
                           double at_most_s) const {
    FenceTask task{
        schedule == "gpipe" ? Objective::sweeps : Objective::interleaved,
        LinkTime::busy,
        request_.micro_batches};
    Candidate best =
        time(placement, schedule, rule_.choose(placement, task), at_most_s);
    if (rule_.has_target() && schedule == "1f1b" && best.step_s < infinity) {
        task.link_time = LinkTime::whole;
        auto fences = rule_.choose(placement, task);
        if (fences != best.fences) {
            Candidate other =
                time(placement, schedule, std::move(fences), at_most_s);
            if (other.step_s < best.step_s * least_gain_of_codecs) {
                best = std::move(other);
            }
        }
    }
    return best;
}

Candidate PlanSearch::time(const Placement& placement,
                           const std::string& schedule,
                           std::vector<Fence> fences,
                           double at_most_s) const {
    Candidate candidate{placement, std::move(fences), {}, infinity};
    const StepCosts costs = model_.step_costs(placement, candidate.fences);
    const auto num_stages = static_cast<int>(placement.stages.size());
    if (request_.partition == "op_fence" && request_.use == DeviceUse::all &&
        placement.stages.size() < model_.num_devices()) {
        return candidate;
    }
    const double price = rule_.price(candidate.fences);
    const double bound_s = price * least_step_s(costs, schedule);
    if (bound_s > at_most_s) {
        candidate.step_s = bound_s;
        return candidate;
    }
    const auto limits = memory_limits(model_, placement);
    if (schedule == "1f1b_deep") {
        if (std::ranges::any_of(limits, [](int n) { return n < 1; })) {
            return candidate;
        }
        candidate.schedule.in_flight = choose_in_flight(
            costs, model_.network(), request_.micro_batches, limits);
    } else {
        candidate.schedule.name = schedule;
    }
    const Schedule actions =
        candidate.schedule.in_flight.empty()
            ? make_schedule(schedule, num_stages, request_.micro_batches)
            : make_1f1b(candidate.schedule.in_flight, request_.micro_batches);
    for (int s = 0; s < num_stages; ++s) {
        if (peak_in_flight(actions, StageId(static_cast<std::uint32_t>(s))) >
            limits[static_cast<std::size_t>(s)]) {
            return candidate;  // does not fit
        }
    }
    candidate.step_s =
        price * simulate_step_s(actions, costs, model_.network());
    return candidate;
}

//! No simulated step is shorter.
double PlanSearch::least_step_s(const StepCosts& costs,
                                const std::string& schedule) const {
    return least_gain * analytic_step_s(costs,
                                        model_.network(),
                                        request_.micro_batches,
                                        schedule == "gpipe"
                                            ? Objective::sweeps
                                            : Objective::interleaved);
}

}  // namespace fusionllm::detail
