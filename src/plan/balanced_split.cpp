#include "balanced_split.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

namespace fusionllm::detail {
namespace {

// Of a bound: the first step above the one of stages that may be empty.
constexpr double first_step = 0.001;

/*!
 * Whether, and how, ops fit on devices if no stage may take longer than a
 * bound: positions from which the rest fits, from the last stage to the first.
 */
class BoundedSplit {
public:
    BoundedSplit(std::vector<double> work_before, std::vector<double> speeds)
        : num_ops_(work_before.size() - 1),
          num_stages_(speeds.size()),
          work_before_(std::move(work_before)),
          speeds_(std::move(speeds)) {}

    //! All work on the slowest device: no stage takes longer.
    double max_bound() const {
        return work_before_.back() / std::ranges::min(speeds_);
    }

    /*!
     * The answer if stages that may be empty need not be, which is the rule
     * with many ops a stage: then filling from the last stage on gives it in
     * O(S log n) a bound, where a table takes O(n S).
     */
    std::optional<std::vector<std::size_t>> find_quickly() {
        double low = 0;
        double high = max_bound();
        while (high - low > 1e-9 * high) {
            const double middle = low + (high - low) / 2;
            (fill_backward(middle) ? high : low) = middle;
        }
        auto cuts = fill_backward(high);
        while (cuts) {
            high = max_seconds(*cuts);
            auto better = fill_backward(std::nextafter(high, -1.0));
            if (!better) {
                break;
            }
            cuts = std::move(better);
        }
        relaxed_bound_ = high;
        if (!cuts) {
            return std::nullopt;
        }
        // An op for each of the first stages, where filling left them none:
        // if that keeps to the bound, no cut can be earlier.
        for (std::size_t s = 0; s < cuts->size(); ++s) {
            (*cuts)[s] = std::max((*cuts)[s], s);
        }
        const auto is_empty = [](std::size_t begin, std::size_t end) {
            return begin >= end;
        };
        if (std::ranges::adjacent_find(*cuts, is_empty) != cuts->end() ||
            cuts->back() != num_ops_ || max_seconds(*cuts) > high) {
            return std::nullopt;
        }
        return cuts;
    }

    //! After `find_quickly`: no bound below it is feasible.
    double relaxed_bound() const { return relaxed_bound_; }

    //! The earliest cuts with no stage above the bound, if there are any.
    std::optional<std::vector<std::size_t>> find_cuts(double bound) {
        if (!mark_ends(bound)) {
            return std::nullopt;
        }
        std::vector<std::size_t> cuts{0};
        for (std::size_t s = 0; s < num_stages_; ++s) {
            cuts.push_back(next_[s][cuts.back() + 1]);
        }
        return cuts;
    }

    //! Fill `next_`; true if all ops fit.
    bool mark_ends(double bound) {
        least_above_ = std::numeric_limits<double>::infinity();
        next_.resize(num_stages_, std::vector<std::size_t>(num_ops_ + 2, 0));
        const std::size_t none = num_ops_ + 1;
        std::vector<char> fits_from(num_ops_ + 1, 0);
        fits_from[num_ops_] = 1;
        for (std::size_t s = num_stages_; s-- > 0;) {
            auto& next = next_[s];
            next[none] = none;
            for (std::size_t i = num_ops_ + 1; i-- > 0;) {
                next[i] = fits_from[i] ? i : next[i + 1];
            }
            std::size_t end = 0;
            for (std::size_t i = 0; i < num_ops_; ++i) {
                end = std::max(end, i);
                for (; end < num_ops_; ++end) {
                    const double stage_s = seconds(s, i, end + 1);
                    if (stage_s > bound) {
                        least_above_ = std::min(least_above_, stage_s);
                        break;
                    }
                }
                fits_from[i] = next[i + 1] <= end ? 1 : 0;
            }
            fits_from[num_ops_] = 0;
        }
        return fits_from[0] != 0;
    }

    //! After `mark_ends`: no bound below this one changes its answer.
    double least_above() const { return least_above_; }

    //! The slowest stage.
    double max_seconds(const std::vector<std::size_t>& cuts) const {
        double slowest = 0;
        for (std::size_t s = 0; s < num_stages_; ++s) {
            slowest = std::max(slowest, seconds(s, cuts[s], cuts[s + 1]));
        }
        return slowest;
    }

private:
    //! From the last stage on, each takes as much as it may; stages may be
    //! empty.
    std::optional<std::vector<std::size_t>> fill_backward(double bound) const {
        std::vector<std::size_t> cuts(num_stages_ + 1, num_ops_);
        for (std::size_t s = num_stages_; s-- > 0;) {
            std::size_t low = 0;
            std::size_t high = cuts[s + 1];
            while (low < high) {
                const std::size_t middle = (low + high) / 2;
                if (seconds(s, middle, cuts[s + 1]) <= bound) {
                    high = middle;
                } else {
                    low = middle + 1;
                }
            }
            cuts[s] = high;
        }
        if (cuts.front() != 0) {
            return std::nullopt;
        }
        return cuts;
    }

    double seconds(std::size_t stage,
                   std::size_t begin,
                   std::size_t end) const {
        return (work_before_[end] - work_before_[begin]) / speeds_[stage];
    }

    std::size_t num_ops_;
    std::size_t num_stages_;
    std::vector<double> work_before_;  // by position
    std::vector<double> speeds_;       // by stage
    // [stage][i]: the first position >= i at which the stage may end so that
    // the ops after it fit on the stages after it
    std::vector<std::vector<std::size_t>> next_;
    double least_above_ = 0;
    double relaxed_bound_ = 0;
};

/*!
 * The least bound that is feasible. Both ends of the bisection are times that
 * stages can take, so it ends at one of them, exactly.
 */
double find_least_bound(BoundedSplit& split) {
    double low = split.relaxed_bound();
    double high = split.max_bound();
    // The answer is seldom far above: try there before the middle.
    double step = first_step;
    double middle = low;
    while (low < high) {
        if (middle >= high) {
            middle = low;  // neighbouring doubles, rounded up
        }
        if (const auto cuts = split.find_cuts(middle)) {
            high = split.max_seconds(*cuts);
        } else {
            low = split.least_above();
        }
        middle = std::min(low + (high - low) / 2, low * (1 + step));
        step *= 2;
    }
    return high;
}

}  // namespace

std::vector<std::size_t> split_in_proportion(std::vector<double> work_before,
                                             std::vector<double> speeds) {
    BoundedSplit split(std::move(work_before), std::move(speeds));
    if (auto cuts = split.find_quickly()) {
        return *cuts;
    }
    return split.find_cuts(find_least_bound(split)).value();
}

}  // namespace fusionllm::detail
