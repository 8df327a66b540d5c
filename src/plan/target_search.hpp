#pragma once

#include <cstddef>
#include <vector>

#include "fusionllm/plan/fence_rule.hpp"

namespace fusionllm::detail {

/*!
 * Of every cut between two devices the mildest option under the target of
 * `FenceRule`, and that target.
 */
class TargetSearch {
public:
    TargetSearch(const CostModel& model,
                 const FenceRule& rule,
                 const Placement& placement,
                 const FenceTask& task,
                 const MeasuredStep& measured);

    //! The options by boundary, positions in `FenceRule::options_at`.
    const std::vector<std::size_t>& chosen() const { return chosen_; }
    std::size_t cut(std::size_t boundary) const {
        return boundaries_[boundary].cut;
    }
    //! Whether the option takes at most so many times the target.
    bool fits(std::size_t boundary,
              const CutOption& option,
              double slack) const;

private:
    //! A cut between two devices, and what joins them.
    struct Boundary {
        std::size_t cut = 0;
        DeviceId sender{0};
        DeviceId receiver{0};
        Link forward;
        Link backward;
    };
    //! Seconds of either direction.
    struct Seconds {
        double forward_s = 0;
        double backward_s = 0;
    };

    void add_boundaries(const Placement& placement,
                        const MeasuredStep& measured);
    void share_lines();
    void add_stages(const Placement& placement, const MeasuredStep& measured);
    Seconds transfer(const Boundary& boundary, const CutOption& option) const;
    Seconds fastest(const Boundary& boundary) const;
    void raise(Seconds seconds);
    void raise_by_stages();
    bool choose();

    const CostModel& model_;
    const FenceRule& rule_;
    FenceTask task_;
    std::vector<Boundary> boundaries_;
    std::vector<StageSeconds> stages_;  // all dense
    Seconds target_;
    std::vector<std::size_t> chosen_;
};

}  // namespace fusionllm::detail
