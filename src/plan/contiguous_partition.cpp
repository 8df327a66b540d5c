#include "fusionllm/plan/contiguous_partition.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "fusionllm/util/error.hpp"

#include "bounded_partition.hpp"

namespace fusionllm {
namespace {

using detail::BoundedPartition;
using detail::Bounds;
using detail::Solution;

constexpr double infinity = std::numeric_limits<double>::infinity();
// Bounds of the coarse and of the fine grid are so much apart; of large tables,
// with more than so many entries, several times as much.
constexpr double coarse_step = 1.06;
constexpr double fine_step = 1.01;
constexpr std::size_t large_table = 100'000;
constexpr double coarse_step_of_large = 1.4;
constexpr double fine_step_of_large = 1.1;
// Loose bounds matter little: the coarse steps grow.
constexpr double coarse_growth = 1.03;
constexpr int most_bounds = 40;

//! The best solution so far.
struct Best {
    std::optional<Solution> solution;
    double step_s = infinity;

    void offer(const std::optional<Solution>& candidate, double seconds) {
        if (candidate && seconds < step_s) {
            solution = candidate;
            step_s = seconds;
        }
    }
};

//! Searches bounds of one kind: a number to `Bounds`, monotone.
class BoundSearch {
public:
    BoundSearch(BoundedPartition& partition, const PartitionTask& task)
        : partition_(partition), task_(task) {}

    double step_s(const Solution& solution) const {
        const double period_s =
            task_.objective == Objective::interleaved
                ? solution.most_s
                : solution.most_forward_s + solution.most_backward_s;
        return solution.sum_s + (task_.micro_batches - 1) * period_s;
    }

    //! All bounds that matter, from the least feasible one up.
    Best search_exactly() {
        Best best;
        if (task_.objective == Objective::interleaved) {
            search_values(best, partition_.stage_bounds());
        } else {
            search_pairs(best);
        }
        return best;
    }

    //! A coarse grid of bounds, then a fine one around the best of it.
    Best search_grid() {
        Best best;
        const double least_sum_s = partition_.least_sum_s();
        const auto feasible = find_feasible(least_sum_s);
        if (!feasible) {
            return best;
        }
        best.offer(feasible, step_s(*feasible));
        const double least = find_least(measure(*feasible));
        const bool is_large =
            task_.order.size() * task_.cuts.size() > large_table;
        const double coarse = is_large ? coarse_step_of_large : coarse_step;
        const double bound = search_range(
            best, {least, infinity, coarse, coarse_growth}, least_sum_s);
        search_range(best,
                     {std::max(least, bound / coarse),
                      bound * coarse,
                      is_large ? fine_step_of_large : fine_step,
                      1},
                     least_sum_s);
        return best;
    }

private:
    //! What of a solution the searched bound limits.
    double measure(const Solution& solution) const {
        return task_.objective == Objective::interleaved
                   ? solution.most_s
                   : std::max(solution.most_forward_s,
                              solution.most_backward_s / ratio());
    }
    //! Backward bounds are that much above forward ones on the grid.
    double ratio() const { return partition_.backward_ratio(); }

    Bounds bounds(double bound) const {
        if (task_.objective == Objective::interleaved) {
            return {infinity, infinity, bound};
        }
        return {bound, bound * ratio(), infinity};
    }

    //! A solution under the first bound of a doubling sequence that has one.
    std::optional<Solution> find_feasible(double least_sum_s) {
        const auto devices = static_cast<double>(partition_.num_devices());
        double bound = least_sum_s / devices;
        for (int doublings = 0; doublings < 40 && bound > 0; ++doublings) {
            if (auto solution = partition_.solve(bounds(bound))) {
                return solution;
            }
            bound *= 2;
        }
        return partition_.solve({});
    }

    //! Within 1% of the least feasible bound, from above.
    double find_least(double feasible) {
        double high = feasible;
        double low = 0;
        double probe = high / 2;
        while (low == 0 || high > low * fine_step) {
            if (const auto solution = partition_.solve(bounds(probe))) {
                high = std::min(probe, measure(*solution));
            } else {
                low = probe;
            }
            if (high <= 0) {
                return 0;
            }
            probe = low == 0 ? high / 2 : std::sqrt(low * high);
        }
        return high;
    }

    //! Bounds from low to high; the step between them grows.
    struct Grid {
        double low;
        double high;
        double step;
        double growth;
    };

    //! The bound of the best solution so far, or the first one.
    double search_range(Best& best, Grid grid, double least_sum_s) {
        double best_bound = grid.low;
        double last = grid.low / grid.step;
        const int more = task_.micro_batches - 1;
        const double weight =
            task_.objective == Objective::interleaved ? 1 : 1 + ratio();
        double bound = grid.low;
        for (int i = 0; i < most_bounds && bound <= grid.high * fine_step;
             ++i, bound *= grid.step) {
            // A looser bound adds only solutions that are not under the last.
            if (least_sum_s + more * weight * last >= best.step_s) {
                break;
            }
            const auto solution = partition_.solve(bounds(bound));
            if (solution && step_s(*solution) < best.step_s) {
                best.offer(solution, step_s(*solution));
                best_bound = bound;
            }
            if (bound <= 0) {
                break;
            }
            last = bound;
            grid.step *= grid.growth;
        }
        return best_bound;
    }

    void search_values(Best& best, const std::vector<double>& values) {
        const auto loosest = partition_.solve({});
        if (!loosest) {
            return;
        }
        best.offer(loosest, step_s(*loosest));
        auto value = std::ranges::partition_point(values, [&](double bound) {
            return !partition_.solve({infinity, infinity, bound});
        });
        for (; value != values.end(); ++value) {
            if (loosest->sum_s + (task_.micro_batches - 1) * *value >=
                best.step_s) {
                break;
            }
            const auto solution =
                partition_.solve({infinity, infinity, *value});
            if (solution) {
                best.offer(solution, step_s(*solution));
            }
        }
    }

    void search_pairs(Best& best) {
        const auto loosest = partition_.solve({});
        if (!loosest) {
            return;
        }
        const std::vector<double> forward = partition_.forward_bounds();
        const std::vector<double> backward = partition_.backward_bounds();
        const auto is_too_low = [&](double bound) {
            return !partition_.solve({infinity, bound, infinity});
        };
        const double least_backward =
            *std::ranges::partition_point(backward, is_too_low);
        const int more = task_.micro_batches - 1;
        auto value = std::ranges::partition_point(forward, [&](double bound) {
            return !partition_.solve({bound, infinity, infinity});
        });
        for (; value != forward.end(); ++value) {
            Bounds now{*value, infinity, infinity};
            while (const auto solution = partition_.solve(now)) {
                best.offer(solution, step_s(*solution));
                if (solution->sum_s + more * (*value + least_backward) >=
                    best.step_s) {
                    break;
                }
                now.backward_s = std::nextafter(solution->most_backward_s, 0.0);
            }
            if (loosest->sum_s + more * (*value + least_backward) >=
                best.step_s) {
                break;
            }
        }
    }

    BoundedPartition& partition_;
    const PartitionTask& task_;
};

}  // namespace

bool is_exact(const PartitionTask& task) {
    return task.order.size() * task.cuts.size() * task.cuts.size() <= 4000;
}

std::optional<Placement> partition_contiguous(const CostModel& model,
                                              const PartitionTask& task) {
    FUSIONLLM_EXPECTS(!task.order.empty() && task.cuts.size() >= 2);
    BoundedPartition partition(model, task);
    BoundSearch search(partition, task);
    const Best best =
        is_exact(task) ? search.search_exactly() : search.search_grid();
    if (!best.solution) {
        return std::nullopt;
    }
    Placement placement;
    for (const detail::SolvedStage& stage : best.solution->stages) {
        placement.stages.push_back(
            {{task.cuts[stage.begin], task.cuts[stage.end]},
             {task.order[stage.device]}});
    }
    return placement;
}

std::vector<std::size_t> all_cuts(const CostModel& model) {
    std::vector<std::size_t> cuts;
    for (std::size_t i = 0; i <= model.num_ops(); ++i) {
        if (model.can_cut(i)) {
            cuts.push_back(i);
        }
    }
    return cuts;
}

std::vector<std::size_t> cheap_cuts(const CostModel& model,
                                    std::size_t max_cuts) {
    const std::size_t num_ops = model.num_ops();
    if (num_ops <= max_cuts) {
        return all_cuts(model);
    }
    const auto bytes = [&](std::size_t position) {
        return model.cut(position).forward_bytes +
               model.cut(position).backward_bytes;
    };
    // Compute is that of the flops, every op a little, so that ops without
    // flops have a length too.
    const double total = model.flops({0, num_ops});
    const auto stretch_of = [&](std::size_t position) {
        const double share =
            total > 0 ? model.flops({0, position}) / total : 0.0;
        const double count =
            static_cast<double>(position) / static_cast<double>(num_ops);
        return static_cast<std::size_t>((0.9 * share + 0.1 * count) *
                                        static_cast<double>(max_cuts));
    };
    std::vector<std::size_t> cuts{0};
    std::size_t stretch = std::numeric_limits<std::size_t>::max();
    for (std::size_t i = 1; i < num_ops; ++i) {
        if (!model.can_cut(i)) {
            continue;
        }
        if (stretch_of(i) != stretch) {
            stretch = stretch_of(i);
            cuts.push_back(i);
        } else if (bytes(i) < bytes(cuts.back())) {
            cuts.back() = i;
        }
    }
    cuts.push_back(num_ops);
    for (const std::size_t border : model.op_support().borders()) {
        if (model.can_cut(border)) {
            cuts.push_back(border);
        }
    }
    std::ranges::sort(cuts);
    cuts.erase(std::ranges::unique(cuts).begin(), cuts.end());
    return cuts;
}

}  // namespace fusionllm
