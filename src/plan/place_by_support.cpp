#include "fusionllm/plan/place_by_support.hpp"

#include <algorithm>

#include <fmt/ranges.h>

#include "fusionllm/graph/call.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

// Elementary steps; a few tenths of a second.
constexpr double most_steps = 1e8;

/*!
 * Which positions can be the end of so many stages of each software, from the
 * first op on. A state is a number of devices of each software.
 */
class SupportSearch {
public:
    SupportSearch(const CostModel& model, const std::vector<DeviceId>& devices)
        : model_(model),
          support_(model.op_support()),
          num_ops_(model.num_ops()),
          devices_(std::max<std::size_t>(support_.software().size(), 1)) {
        for (const DeviceId device : devices) {
            devices_[support_.software_of(device)].push_back(device);
        }
        std::size_t num_states = 1;
        for (const auto& alike : devices_) {
            strides_.push_back(num_states);
            num_states *= alike.size() + 1;
            is_too_large_ |= static_cast<double>(num_states) *
                                 static_cast<double>(num_ops_ + 1) *
                                 static_cast<double>(devices_.size()) >
                             most_steps;
            if (is_too_large_) {
                return;
            }
        }
        is_reached_.resize(num_states);
        for (std::size_t state = 0; state < num_states; ++state) {
            reach(state);
        }
    }

    bool is_too_large() const { return is_too_large_; }

    std::optional<Placement> find(DeviceUse use) const {
        for (std::size_t state = is_reached_.size(); state-- > 0;) {
            if (is_reached_[state][num_ops_]) {
                return trace(state);
            }
            if (use == DeviceUse::all) {
                break;  // the last state has all devices
            }
        }
        return std::nullopt;
    }

private:
    std::size_t count(std::size_t state, std::size_t software) const {
        return state / strides_[software] % (devices_[software].size() + 1);
    }

    //! From all states with one device less.
    void reach(std::size_t state) {
        std::vector<bool>& now = is_reached_[state];
        now.assign(num_ops_ + 1, false);
        now[0] = state == 0;
        for (std::size_t s = 0; s < devices_.size(); ++s) {
            if (count(state, s) == 0) {
                continue;
            }
            const std::vector<bool>& before = is_reached_[state - strides_[s]];
            std::size_t end = 0;  // positions up to here have been marked
            for (std::size_t begin = 0; begin < num_ops_; ++begin) {
                if (!before[begin]) {
                    continue;
                }
                const std::size_t last =
                    std::min(support_.first_missing(s, begin), num_ops_);
                for (end = std::max(end, begin); end < last;) {
                    ++end;
                    now[end] = model_.can_cut(end);
                }
            }
        }
    }

    //! Back from the end, stages as equal as they can be.
    Placement trace(std::size_t state) const {
        Placement placement;
        std::size_t end = num_ops_;
        while (state != 0) {
            std::size_t best = devices_.size();
            std::size_t best_begin = 0;
            std::size_t least_off = num_ops_ + 1;
            const std::size_t wanted = end - end / num_devices(state);
            for (std::size_t s = 0; s < devices_.size(); ++s) {
                for (std::size_t begin = 0; count(state, s) > 0 && begin < end;
                     ++begin) {
                    const std::size_t length = end - begin;
                    const std::size_t off = length > end - wanted
                                                ? length - (end - wanted)
                                                : end - wanted - length;
                    if (off < least_off &&
                        is_reached_[state - strides_[s]][begin] &&
                        support_.first_missing(s, begin) >= end) {
                        best = s;
                        best_begin = begin;
                        least_off = off;
                    }
                }
            }
            FUSIONLLM_EXPECTS(best < devices_.size());
            placement.stages.push_back(
                {{best_begin, end}, {devices_[best][count(state, best) - 1]}});
            state -= strides_[best];
            end = best_begin;
        }
        std::ranges::reverse(placement.stages);
        return placement;
    }

    std::size_t num_devices(std::size_t state) const {
        std::size_t number = 0;
        for (std::size_t s = 0; s < devices_.size(); ++s) {
            number += count(state, s);
        }
        return number;
    }

    const CostModel& model_;
    const OpSupport& support_;
    std::size_t num_ops_;
    bool is_too_large_ = false;
    std::vector<std::vector<DeviceId>> devices_;  // by software
    std::vector<std::size_t> strides_;            // of a state, by software
    std::vector<std::vector<bool>> is_reached_;   // [state][position]
};

bool is_missing(const OpSupport& support,
                std::size_t software,
                std::size_t op) {
    return support.first_missing(software, op) == op;
}

//! "LibTorch 1.13.1 (local-0, local-1)" of each software for which it holds.
template <class Holds>
std::string describe(const OpSupport& support,
                     const Topology& topology,
                     Holds holds) {
    constexpr std::size_t most_named = 4;
    std::vector<std::string> found;
    for (std::size_t s = 0; s < support.software().size(); ++s) {
        std::vector<std::string> names;
        for (std::size_t d = 0; d < topology.devices.size(); ++d) {
            if (support.software_of(DeviceId(static_cast<std::uint32_t>(d))) ==
                s) {
                names.push_back(topology.devices[d].name);
            }
        }
        if (!holds(s) || names.empty()) {
            continue;
        }
        const std::size_t num_more =
            names.size() > most_named ? names.size() - most_named : 0;
        names.resize(names.size() - num_more);
        found.push_back(fmt::format(
            "{} ({}{})",
            support.software()[s].name,
            fmt::join(names, ", "),
            num_more > 0 ? fmt::format(" and {} more", num_more) : ""));
    }
    return fmt::format("{}", fmt::join(found, " and "));
}

std::string describe_support(const OpSupport& support,
                             const Topology& topology,
                             std::size_t op) {
    return describe(support, topology, [&](std::size_t software) {
        return !is_missing(support, software, op);
    });
}

std::vector<DeviceId> all_devices(const CostModel& model) {
    std::vector<DeviceId> devices;
    for (std::size_t d = 0; d < model.num_devices(); ++d) {
        devices.emplace_back(static_cast<std::uint32_t>(d));
    }
    return devices;
}

//! "'x' (aten::x) only on ..." of the first op of each kind of operator that
//! some device cannot run.
std::string list_missing(const OpSupport& support,
                         const OpGraph& graph,
                         const Topology& topology) {
    constexpr std::size_t most_listed = 6;
    std::vector<std::string> calls;
    std::vector<std::string> lines;
    for (std::size_t op = 0; op < graph.ops().size(); ++op) {
        const bool is_partial =
            std::ranges::any_of(support.software(), [&](const auto& s) {
                return std::ranges::binary_search(s.missing, op);
            });
        const std::string call = full_name(graph.ops()[op]);
        if (is_partial && std::ranges::find(calls, call) == calls.end()) {
            calls.push_back(call);
            lines.push_back(
                fmt::format("{} only by {}",
                            call,
                            describe_support(support, topology, op)));
        }
    }
    if (lines.size() > most_listed) {
        lines.resize(most_listed);
        lines.emplace_back("...");
    }
    return fmt::format("{}", fmt::join(lines, ", "));
}

}  // namespace

std::optional<Placement> place_by_support(const CostModel& model,
                                          const std::vector<DeviceId>& devices,
                                          DeviceUse use) {
    return SupportSearch(model, devices).find(use);
}

std::string find_support_problem(const CostModel& model,
                                 const OpGraph& graph,
                                 const Topology& topology) {
    const OpSupport& support = model.op_support();
    if (support.is_everywhere()) {
        return "";
    }
    for (std::size_t op = 0; op < graph.ops().size(); ++op) {
        if (describe_support(support, topology, op).empty()) {
            return fmt::format(
                "op '{}' calls {}, which no rank can run: not {}; build "
                "fusionllm with a newer LibTorch for some of the ranks, or "
                "write the model without it",
                graph.ops()[op].name,
                full_name(graph.ops()[op]),
                describe(support, topology, [](std::size_t) { return true; }));
        }
    }
    const SupportSearch search(model, all_devices(model));
    if (search.is_too_large() || search.find(DeviceUse::any)) {
        return "";
    }
    return fmt::format(
        "the ops cannot be shared out among the devices: a stage is "
        "contiguous, "
        "and of the ops {} can be run; start more ranks of either, or the same "
        "LibTorch everywhere",
        list_missing(support, graph, topology));
}

std::string find_support_problem(const Placement& placement,
                                 const CostModel& model,
                                 const OpGraph& graph,
                                 const Topology& topology) {
    const OpSupport& support = model.op_support();
    for (std::size_t s = 0; s < placement.stages.size(); ++s) {
        const StagePlacement& stage = placement.stages[s];
        const DeviceId device = stage.devices.at(0);
        if (support.can_run(device, stage.ops)) {
            continue;
        }
        const std::size_t software = support.software_of(device);
        const std::size_t op = support.first_missing(software, stage.ops.begin);
        return fmt::format(
            "stage {} on device '{}' has op '{}', which calls {}: {} cannot "
            "run it there, only {} can; take the partition \"op_fence\", which "
            "places ops where they can run, or the same LibTorch everywhere",
            s,
            topology.devices.at(device.get()).name,
            graph.ops()[op].name,
            full_name(graph.ops()[op]),
            support.software()[software].name,
            describe_support(support, topology, op));
    }
    return "";
}

}  // namespace fusionllm
