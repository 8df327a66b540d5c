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
    add_stages(placement, measured);
    for (const Boundary& boundary : boundaries_) {
        raise(fastest(boundary));
    }
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

TargetSearch::Seconds TargetSearch::transfer(const Boundary& boundary,
                                             const CutOption& option) const {
    const CutCost& cut = model_.cut(boundary.cut);
    const auto seconds = [&](const Link& link, double bytes) {
        const double busy_s = bytes / link.bandwidth_bytes_per_s;
        return task_.link_time == LinkTime::whole
                   ? latency_s(link, bytes) + busy_s
                   : busy_s;
    };
    return {seconds(boundary.forward,
                    cut.forward_bytes - option.saved.forward_bytes),
            seconds(boundary.backward,
                    cut.backward_bytes - option.saved.backward_bytes)};
}

//! What nothing makes faster.
TargetSearch::Seconds TargetSearch::fastest(const Boundary& boundary) const {
    const bool is_interleaved = task_.objective == Objective::interleaved;
    Seconds least{infinity, infinity};
    double least_s = infinity;
    for (const CutOption& option : rule_.options_at(boundary.cut)) {
        const Seconds now = transfer(boundary, option);
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

//! Stages with what the chosen codecs take there.
void TargetSearch::raise_by_stages() {
    std::vector<StageSeconds> now = stages_;
    const auto charge =
        [&](DeviceId device, const SideWork& work, StageSeconds& stage) {
            stage.forward_s += model_.codec_s(device, work.forward);
            stage.backward_s += model_.codec_s(device, work.backward);
        };
    for (std::size_t s = 0; s < boundaries_.size(); ++s) {
        const Boundary& boundary = boundaries_[s];
        const CutOption& option = rule_.options_at(boundary.cut)[chosen_[s]];
        charge(boundary.sender, option.sender, now[s]);
        charge(boundary.receiver, option.receiver, now[s + 1]);
    }
    for (const StageSeconds& stage : now) {
        const double both_s = stage.forward_s + stage.backward_s;
        raise(task_.objective == Objective::interleaved
                  ? Seconds{both_s, both_s}
                  : Seconds{stage.forward_s, stage.backward_s});
    }
}

bool TargetSearch::fits(std::size_t boundary,
                        const CutOption& option,
                        double slack) const {
    const Seconds now = transfer(boundaries_[boundary], option);
    return now.forward_s <= slack * target_.forward_s &&
           now.backward_s <= slack * target_.backward_s;
}

//! True if that changed anything.
bool TargetSearch::choose() {
    bool has_changed = false;
    for (std::size_t s = 0; s < boundaries_.size(); ++s) {
        const auto options = rule_.options_at(boundaries_[s].cut);
        const auto found =
            std::ranges::find_if(options, [&](const CutOption& option) {
                return fits(s, option, rounded_up);
            });
        FUSIONLLM_EXPECTS(found != options.end());
        const auto index = static_cast<std::size_t>(found - options.begin());
        has_changed |= index != chosen_[s];
        chosen_[s] = index;
    }
    return has_changed;
}

}  // namespace fusionllm::detail
