#pragma once

#include <limits>
#include <string>
#include <vector>

#include "fusionllm/plan/fence_rule.hpp"
#include "fusionllm/plan/local_search.hpp"
#include "fusionllm/sim/choose_plan.hpp"

namespace fusionllm::detail {

//! A schedule by the name that a plan has for it.
struct ScheduleChoice {
    std::string name = "1f1b";
    std::vector<int> in_flight;  // as in `Plan`

    //! As a request names it.
    std::string request() const {
        return in_flight.empty() ? name : "1f1b_deep";
    }
};

//! A placement, how it is compressed and scheduled, and what that takes.
struct Candidate {
    Placement placement;
    std::vector<Fence> fences;
    ScheduleChoice schedule;
    //! Times the price of its errors; infinite if it does not fit.
    double step_s = std::numeric_limits<double>::infinity();
};

/*!
 * Looks for the placement of least simulated step, times the price of its
 * errors, beginning at those that are offered. Schedules are named as the
 * request names them.
 */
class PlanSearch {
public:
    //! Keeps references to all of them.
    PlanSearch(const CostModel& model,
               const PlanRequest& request,
               const FenceRule& rule)
        : model_(model), request_(request), rule_(rule) {}

    //! Simulate the placement under a schedule.
    void offer(const Placement& placement, const std::string& schedule);
    //! Look at a plan of another request as it is, and at its placement under
    //! each of the schedules.
    void offer(const Candidate& other,
               const std::vector<std::string>& schedules);
    //! Change the best one that was offered since the last call, simulating
    //! what might be better, until no change helps.
    void improve();

    /*!
     * The best one; where errors have a price, which nobody knows exactly, of
     * the ones about as good that a search has ended with, the one of least
     * errors.
     */
    Candidate best() const;

private:
    //! Where a search may begin.
    struct Start {
        Placement placement;
        std::string schedule;
        double step_s = std::numeric_limits<double>::infinity();
    };

    std::size_t count_evaluations(const Placement& placement) const;
    void offer(Candidate candidate, const std::string& schedule);
    void keep(Candidate candidate);
    void take_if_better(Candidate candidate);
    Candidate time(const Placement& placement,
                   const std::string& schedule,
                   double at_most_s) const;
    Candidate time(const Placement& placement,
                   const std::string& schedule,
                   std::vector<Fence> fences,
                   double at_most_s) const;
    double least_step_s(const StepCosts& costs,
                        const std::string& schedule) const;

    const CostModel& model_;
    const PlanRequest& request_;
    const FenceRule& rule_;
    Candidate best_;
    std::vector<Candidate> kept_;  // where searches ended
    Start start_;
};

}  // namespace fusionllm::detail
