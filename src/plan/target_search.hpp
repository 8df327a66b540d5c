#pragma once

#include <cstddef>
#include <vector>

#include "fusionllm/plan/fence_rule.hpp"

namespace fusionllm::detail {

/*!
 * Of every cut between two devices the option that `FenceRule` takes under its
 * target, and that target.
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
    bool fits(std::size_t boundary, std::size_t option, double slack) const;

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

    //! What an option takes at a boundary, of a micro-batch.
    struct OptionSeconds {
        Seconds link;      //!< what counts under a target
        double filling_s;  //!< both ways, latency included
        Seconds sender;    //!< encoding and decoding, more than dense copies
        Seconds receiver;
    };

    struct Best {
        double step_s = 0;  //!< priced
        Seconds target;
        std::vector<std::size_t> chosen;
    };

    void add_boundaries(const Placement& placement,
                        const MeasuredStep& measured);
    void share_lines();
    void add_stages(const Placement& placement, const MeasuredStep& measured);
    void add_options();
    OptionSeconds seconds_of(const Boundary& boundary,
                             const CutOption& option) const;
    Seconds fastest(std::size_t boundary) const;
    void raise(Seconds seconds);
    std::vector<StageSeconds> stages_with_codecs() const;
    void charge(std::size_t boundary,
                std::size_t option,
                double sign,
                std::vector<StageSeconds>& stages) const;
    void raise_by_stages();
    bool choose();
    void go_further();
    void find_mildest();
    bool try_target(Seconds target, Best& best);
    void try_longer_targets();
    double priced_step_s() const;
    double period_s(Seconds longest) const;
    std::size_t find_least(std::size_t boundary,
                           double priced_s,
                           const std::vector<StageSeconds>& stages) const;
    bool is_under_target(const StageSeconds& stage) const;

    const CostModel& model_;
    const FenceRule& rule_;
    FenceTask task_;
    std::vector<Boundary> boundaries_;
    std::vector<std::vector<OptionSeconds>> seconds_;  // [boundary][option]
    std::vector<StageSeconds> stages_;                 // all dense
    Seconds target_;
    std::vector<std::size_t> chosen_;
};

}  // namespace fusionllm::detail
