#include "target_search.hpp"

#include <algorithm>
#include <limits>

#include "fusionllm/util/error.hpp"

namespace fusionllm::detail {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
// Until nothing changes; the target only grows, so that it ends.
constexpr int most_rounds = 8;
// Of differences of large sums.
constexpr double rounded_up = 1 + 1e-9;
// Targets that are tried are so much apart.
constexpr double longer = 1.15;
constexpr int most_longer = 40;

//! Bytes of dense messages that each line carries at a time.
class LineBytes {
public:
    explicit LineBytes(const Network& network)
        : network_(network), bytes_(network.num_lines(), 0) {}

    void add(DeviceId from, DeviceId to, double bytes) {
        for (const LineId line : network_.lines(from, to)) {
            bytes_[line.get()] += bytes;
        }
    }
    //! The link with the share of its lines that its bytes are of all.
    Link share(DeviceId from, DeviceId to, double bytes, Link link) const {
        for (const LineId line : network_.lines(from, to)) {
            if (bytes > 0 && bytes_[line.get()] > bytes) {
                link.bandwidth_bytes_per_s =
                    std::min(link.bandwidth_bytes_per_s,
                             network_.line(line).bandwidth_bytes_per_s * bytes /
                                 bytes_[line.get()]);
            }
        }
        return link;
    }

private:
    const Network& network_;
    std::vector<double> bytes_;
};

}  // namespace

TargetSearch::TargetSearch(const CostModel& model,
                           const FenceRule& rule,
                           const Placement& placement,
                           const FenceTask& task,
                           const MeasuredStep& measured)
    : model_(model), rule_(rule), task_(task) {
    add_boundaries(placement, measured);
    add_options();
    add_stages(placement, measured);
    for (std::size_t s = 0; s < boundaries_.size(); ++s) {
        raise(fastest(s));
    }
    find_mildest();
    if (rule_.weighs_errors()) {
        go_further();
        try_longer_targets();
    }
}

void TargetSearch::find_mildest() {
    chosen_.assign(boundaries_.size(), 0);
    for (int round = 0; round < most_rounds; ++round) {
        raise_by_stages();
        if (!choose() && round > 0) {
            break;
        }
    }
}

void TargetSearch::add_boundaries(const Placement& placement,
                                  const MeasuredStep& measured) {
    const auto& stages = placement.stages;
    const Network& network = model_.network();
    for (std::size_t s = 0; s + 1 < stages.size(); ++s) {
        const DeviceId sender = stages[s].devices.at(0);
        const DeviceId receiver = stages[s + 1].devices.at(0);
        boundaries_.push_back({stages[s].ops.end,
                               sender,
                               receiver,
                               network.link(sender, receiver),
                               network.link(receiver, sender)});
        if (!measured.forward.empty()) {
            // What others left of the lines is in the figures.
            boundaries_.back().forward = measured.forward.at(s);
            boundaries_.back().backward = measured.backward.at(s);
        }
    }
    if (measured.forward.empty()) {
        share_lines();
    }
}

void TargetSearch::share_lines() {
    LineBytes forward(model_.network());
    LineBytes backward(model_.network());
    // Both directions of the pipeline go on at the same time, or do not.
    LineBytes& back =
        task_.objective == Objective::interleaved ? forward : backward;
    for (const Boundary& boundary : boundaries_) {
        const CutCost& cut = model_.cut(boundary.cut);
        forward.add(boundary.sender, boundary.receiver, cut.forward_bytes);
        back.add(boundary.receiver, boundary.sender, cut.backward_bytes);
    }
    for (Boundary& boundary : boundaries_) {
        const CutCost& cut = model_.cut(boundary.cut);
        boundary.forward = forward.share(boundary.sender,
                                         boundary.receiver,
                                         cut.forward_bytes,
                                         boundary.forward);
        boundary.backward = back.share(boundary.receiver,
                                       boundary.sender,
                                       cut.backward_bytes,
                                       boundary.backward);
    }
}

void TargetSearch::add_stages(const Placement& placement,
                              const MeasuredStep& measured) {
    if (!measured.stages.empty()) {
        FUSIONLLM_EXPECTS(measured.stages.size() == placement.stages.size());
        stages_ = measured.stages;
        return;
    }
    for (const StagePlacement& stage : placement.stages) {
        const DeviceId device = stage.devices.at(0);
        stages_.push_back({model_.forward_s(device, stage.ops),
                           model_.backward_s(device, stage.ops),
                           0});
    }
}

TargetSearch::OptionSeconds TargetSearch::seconds_of(
    const Boundary& boundary, const CutOption& option) const {
    const CutCost& cut = model_.cut(boundary.cut);
    const double there = cut.forward_bytes - option.saved.forward_bytes;
    const double back = cut.backward_bytes - option.saved.backward_bytes;
    const auto link_s = [&](const Link& link, double bytes) {
        return task_.link_time == LinkTime::whole
                   ? transfer_s(link, bytes)
                   : bytes / link.bandwidth_bytes_per_s;
    };
    const auto codec_s = [&](DeviceId device, const SideWork& work) {
        return Seconds{model_.codec_s(device, work.forward),
                       model_.codec_s(device, work.backward)};
    };
    return {{link_s(boundary.forward, there), link_s(boundary.backward, back)},
            transfer_s(boundary.forward, there) +
                transfer_s(boundary.backward, back),
            codec_s(boundary.sender, option.sender),
            codec_s(boundary.receiver, option.receiver)};
}

void TargetSearch::add_options() {
    for (const Boundary& boundary : boundaries_) {
        std::vector<OptionSeconds>& seconds = seconds_.emplace_back();
        for (const CutOption& option : rule_.options_at(boundary.cut)) {
            seconds.push_back(seconds_of(boundary, option));
        }
    }
}

//! What nothing makes faster.
TargetSearch::Seconds TargetSearch::fastest(std::size_t boundary) const {
    const bool is_interleaved = task_.objective == Objective::interleaved;
    Seconds least{infinity, infinity};
    double least_s = infinity;
    for (const OptionSeconds& option : seconds_[boundary]) {
        const Seconds now = option.link;
        const double now_s = is_interleaved
                                 ? std::max(now.forward_s, now.backward_s)
                                 : now.forward_s + now.backward_s;
        if (now_s < least_s) {
            least_s = now_s;
            least = now;
        }
    }
    return least;
}

void TargetSearch::raise(Seconds seconds) {
    if (task_.objective == Objective::interleaved) {
        const double both_s = std::max(seconds.forward_s, seconds.backward_s);
        seconds = {both_s, both_s};
    }
    target_.forward_s = std::max(target_.forward_s, seconds.forward_s);
    target_.backward_s = std::max(target_.backward_s, seconds.backward_s);
}

//! Add what the option's encoding and decoding takes on both sides.
void TargetSearch::charge(std::size_t boundary,
                          std::size_t option,
                          double sign,
                          std::vector<StageSeconds>& stages) const {
    const OptionSeconds& seconds = seconds_[boundary][option];
    const auto add = [&](const Seconds& side, StageSeconds& stage) {
        stage.forward_s += sign * side.forward_s;
        stage.backward_s += sign * side.backward_s;
    };
    add(seconds.sender, stages[boundary]);
    add(seconds.receiver, stages[boundary + 1]);
}

std::vector<StageSeconds> TargetSearch::stages_with_codecs() const {
    std::vector<StageSeconds> stages = stages_;
    for (std::size_t s = 0; s < boundaries_.size(); ++s) {
        charge(s, chosen_[s], 1, stages);
    }
    return stages;
}

void TargetSearch::raise_by_stages() {
    for (const StageSeconds& stage : stages_with_codecs()) {
        const double both_s = stage.forward_s + stage.backward_s;
        raise(task_.objective == Objective::interleaved
                  ? Seconds{both_s, both_s}
                  : Seconds{stage.forward_s, stage.backward_s});
    }
}

bool TargetSearch::fits(std::size_t boundary,
                        std::size_t option,
                        double slack) const {
    const Seconds& link = seconds_[boundary][option].link;
    return link.forward_s <= slack * target_.forward_s &&
           link.backward_s <= slack * target_.backward_s;
}

//! True if that changed anything.
bool TargetSearch::choose() {
    bool has_changed = false;
    for (std::size_t s = 0; s < boundaries_.size(); ++s) {
        std::size_t option = 0;
        while (option + 1 < seconds_[s].size() &&
               !fits(s, option, rounded_up)) {
            ++option;
        }
        FUSIONLLM_EXPECTS(fits(s, option, rounded_up));
        has_changed |= option != chosen_[s];
        chosen_[s] = option;
    }
    return has_changed;
}

double TargetSearch::period_s(Seconds longest) const {
    return task_.objective == Objective::interleaved
               ? std::max(longest.forward_s, longest.backward_s)
               : longest.forward_s + longest.backward_s;
}

//! The formulas of `Objective`, without the update, times the price.
double TargetSearch::priced_step_s() const {
    double sum_s = 0;
    double error = 0;
    Seconds longest;
    const auto include = [&](double forward_s, double backward_s) {
        longest.forward_s = std::max(longest.forward_s, forward_s);
        longest.backward_s = std::max(longest.backward_s, backward_s);
    };
    for (const StageSeconds& stage : stages_with_codecs()) {
        const double both_s = stage.forward_s + stage.backward_s;
        sum_s += both_s;
        if (task_.objective == Objective::interleaved) {
            include(both_s, both_s);
        } else {
            include(stage.forward_s, stage.backward_s);
        }
    }
    for (std::size_t s = 0; s < boundaries_.size(); ++s) {
        const OptionSeconds& seconds = seconds_[s][chosen_[s]];
        include(seconds.link.forward_s, seconds.link.backward_s);
        sum_s += seconds.filling_s;
        error += rule_.options_at(boundaries_[s].cut)[chosen_[s]].error;
    }
    return (1 + rule_.error_price() * error) *
           (sum_s + (task_.micro_batches - 1) * period_s(longest));
}

bool TargetSearch::is_under_target(const StageSeconds& stage) const {
    return task_.objective == Objective::interleaved
               ? stage.forward_s + stage.backward_s <=
                     rounded_up * target_.forward_s
               : stage.forward_s <= rounded_up * target_.forward_s &&
                     stage.backward_s <= rounded_up * target_.backward_s;
}

//! The option of the boundary that comes to least, of those under the target.
//! \param stages with all other codecs
std::size_t TargetSearch::find_least(
    std::size_t boundary,
    double priced_s,
    const std::vector<StageSeconds>& stages) const {
    const auto options = rule_.options_at(boundaries_[boundary].cut);
    const auto with = [](StageSeconds stage, const Seconds& side) {
        stage.forward_s += side.forward_s;
        stage.backward_s += side.backward_s;
        return stage;
    };
    std::size_t least = chosen_[boundary];
    double least_s = infinity;
    for (std::size_t i = 0; i < options.size(); ++i) {
        const OptionSeconds& seconds = seconds_[boundary][i];
        const StageSeconds sender = with(stages[boundary], seconds.sender);
        const StageSeconds receiver =
            with(stages[boundary + 1], seconds.receiver);
        const double all_s = seconds.filling_s + sender.forward_s +
                             sender.backward_s + receiver.forward_s +
                             receiver.backward_s + priced_s * options[i].error;
        if (all_s < least_s &&
            (i == chosen_[boundary] ||
             (fits(boundary, i, rounded_up) && is_under_target(sender) &&
              is_under_target(receiver)))) {
            least_s = all_s;
            least = i;
        }
    }
    return least;
}

/*!
 * Under the same target, the option whose transfer and work of a micro-batch
 * and price come to least: every link is passed once while the pipeline fills
 * and once while it empties, also one that is no bottleneck.
 */
void TargetSearch::go_further() {
    std::vector<StageSeconds> stages = stages_with_codecs();
    const double priced_s = rule_.error_price() * priced_step_s();
    for (std::size_t s = 0; s < boundaries_.size(); ++s) {
        charge(s, chosen_[s], -1, stages);
        chosen_[s] = find_least(s, priced_s, stages);
        charge(s, chosen_[s], 1, stages);
    }
}

//! Choose under the target; true if that is the best so far.
bool TargetSearch::try_target(Seconds target, Best& best) {
    target_ = target;
    find_mildest();
    go_further();
    const double seconds = priced_step_s();
    if (!(seconds < best.step_s)) {
        return false;
    }
    best = {seconds, target_, chosen_};
    return true;
}

/*!
 * The shortest target may need codecs that lose too much: a link that takes
 * longer than the slowest stage can come to less. In sweeps each direction has
 * a target of its own.
 */
void TargetSearch::try_longer_targets() {
    const Seconds shortest = target_;
    Best best{priced_step_s(), target_, chosen_};
    const auto is_dense = [&] {
        return std::ranges::all_of(chosen_, [](auto i) { return i == 0; });
    };
    double times = 1;
    for (int i = 0; i < most_longer && !is_dense(); ++i) {
        times *= longer;
        const Seconds target{times * shortest.forward_s,
                             times * shortest.backward_s};
        if ((task_.micro_batches - 1) * period_s(target) >=
            longer * best.step_s) {
            break;
        }
        try_target(target, best);
    }
    for (double Seconds::*const way :
         {&Seconds::forward_s, &Seconds::backward_s}) {
        for (const double factor : {longer, 1 / longer}) {
            Seconds target = best.target;
            do {
                target.*way =
                    std::max(factor * best.target.*way, shortest.*way);
            } while (task_.objective == Objective::sweeps &&
                     target.*way != best.target.*way &&
                     try_target(target, best));
        }
    }
    chosen_ = best.chosen;
    target_ = best.target;
}

}  // namespace fusionllm::detail
