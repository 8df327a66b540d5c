#include "fusionllm/plan/partition.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm {
namespace {

void check_sizes(const OpGraph& graph,
                 const Workload& workload,
                 const Topology& topology) {
    FUSIONLLM_EXPECTS(workload.ops.size() == graph.ops().size());
    const auto num_devices = topology.devices.size();
    const auto num_ops = graph.ops().size();
    FUSIONLLM_VALIDATE(num_devices >= 1,
                       "the topology has no devices; it needs at least one");
    FUSIONLLM_VALIDATE(num_devices <= num_ops,
                       "{} devices but only {} ops; every device runs at least "
                       "one: start at most {} ranks or take a deeper model",
                       num_devices,
                       num_ops,
                       num_ops);
    for (const Device& device : topology.devices) {
        const double speed = topology.kinds.at(device.kind).flops_per_s;
        FUSIONLLM_VALIDATE(speed > 0,
                           "device '{}' has a speed of {} flop/s; give it one "
                           "above 0",
                           device.name,
                           speed);
    }
}

//! Stage s runs the ops [cuts[s], cuts[s + 1]) on device s.
Placement make_placement(const std::vector<std::size_t>& cuts) {
    Placement placement;
    for (std::size_t s = 0; s + 1 < cuts.size(); ++s) {
        placement.stages.push_back({{cuts[s], cuts[s + 1]},
                                    {DeviceId(static_cast<std::uint32_t>(s))}});
    }
    return placement;
}

/*!
 * Whether, and how, ops fit on devices if no stage may take longer than a
 * bound: positions from which the rest fits, from the last stage to the first.
 */
class BoundedSplit {
public:
    BoundedSplit(const Workload& workload, const Topology& topology)
        : num_ops_(workload.ops.size()), num_stages_(topology.devices.size()) {
        flops_before_.push_back(0);
        for (const OpCost& cost : workload.ops) {
            flops_before_.push_back(flops_before_.back() + cost.forward_flops +
                                    cost.backward_flops);
        }
        for (const Device& device : topology.devices) {
            flops_per_s_.push_back(topology.kinds.at(device.kind).flops_per_s);
        }
        next_.assign(num_stages_, std::vector<std::size_t>(num_ops_ + 2, 0));
    }

    //! Seconds of all ops on the slowest device: no stage takes longer.
    double max_bound() const {
        return flops_before_.back() / std::ranges::min(flops_per_s_);
    }

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
    double seconds(std::size_t stage,
                   std::size_t begin,
                   std::size_t end) const {
        return (flops_before_[end] - flops_before_[begin]) /
               flops_per_s_[stage];
    }

    std::size_t num_ops_;
    std::size_t num_stages_;
    std::vector<double> flops_before_;  // by position
    std::vector<double> flops_per_s_;   // by stage
    // [stage][i]: the first position >= i at which the stage may end so that
    // the ops after it fit on the stages after it
    std::vector<std::vector<std::size_t>> next_;
    double least_above_ = 0;
};

/*!
 * The least bound that is feasible. Both ends of the bisection are times that
 * stages can take, so it ends at one of them, exactly.
 */
double find_least_bound(BoundedSplit& split) {
    double low = 0;
    double high = split.max_bound();
    while (low < high) {
        double middle = low + (high - low) / 2;
        if (middle >= high) {
            middle = low;  // neighbouring doubles, rounded up
        }
        if (const auto cuts = split.find_cuts(middle)) {
            high = split.max_seconds(*cuts);
        } else {
            low = split.least_above();
        }
    }
    return high;
}

using Partitioner = Placement (*)(const OpGraph&,
                                  const Workload&,
                                  const Topology&);

const std::vector<std::pair<std::string, Partitioner>>& partitioners() {
    static const std::vector<std::pair<std::string, Partitioner>> list = {
        {"equal_flops", partition_equal_flops},
        {"equal_ops", partition_equal_ops},
    };
    return list;
}

}  // namespace

Placement partition_equal_ops(const OpGraph& graph,
                              const Workload& workload,
                              const Topology& topology) {
    check_sizes(graph, workload, topology);
    const std::size_t num_stages = topology.devices.size();
    std::vector<std::size_t> cuts;
    for (std::size_t s = 0; s <= num_stages; ++s) {
        cuts.push_back(s * graph.ops().size() / num_stages);
    }
    return make_placement(cuts);
}

Placement partition_equal_flops(const OpGraph& graph,
                                const Workload& workload,
                                const Topology& topology) {
    check_sizes(graph, workload, topology);
    BoundedSplit split(workload, topology);
    const double bound = find_least_bound(split);
    return make_placement(split.find_cuts(bound).value());
}

const std::vector<std::string>& partition_names() {
    static const std::vector<std::string> names = [] {
        std::vector<std::string> names;
        for (const auto& [name, function] : partitioners()) {
            names.push_back(name);
        }
        return names;
    }();
    return names;
}

Placement partition(const std::string& name,
                    const OpGraph& graph,
                    const Workload& workload,
                    const Topology& topology) {
    for (const auto& [known, function] : partitioners()) {
        if (known == name) {
            return function(graph, workload, topology);
        }
    }
    throw InputError(fmt::format("there is no partition '{}' (known: {}){}",
                                 name,
                                 fmt::join(partition_names(), ", "),
                                 did_you_mean(name, partition_names())));
}

}  // namespace fusionllm
