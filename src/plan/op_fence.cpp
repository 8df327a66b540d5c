#include <algorithm>
#include <limits>
#include <utility>

#include "fusionllm/plan/device_groups.hpp"
#include "fusionllm/plan/device_order.hpp"
#include "fusionllm/plan/local_search.hpp"
#include "fusionllm/plan/partition.hpp"
#include "fusionllm/plan/place_by_support.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/units.hpp"

namespace fusionllm {
namespace {

// Places to cut that dynamic programming looks at, per device and at least;
// local search then moves cuts to any op.
constexpr std::size_t cuts_per_device = 4;
constexpr std::size_t least_num_cuts = 150;
constexpr std::size_t most_num_cuts = 1500;
constexpr std::size_t shortest_stretch = 8;
// Of equal candidates, but for rounding, the first one stays.
constexpr double least_gain = 1 - 1e-9;
// Longer lines are taken in one direction only, and as if no line were shared.
constexpr std::size_t most_devices_both_ways = 256;
// Orders of devices that are tried beyond the path: so many that they cost
// about this many elementary steps, and at most this many.
constexpr double order_budget = 1e8;
constexpr double solves_an_order = 40;
constexpr std::size_t most_orders = 300;
// Local search: evaluations, each of which is linear in the stages.
constexpr std::size_t search_budget = 100'000;
constexpr std::size_t most_evaluations = 3'000;

//! The best placement so far.
class Candidates {
public:
    Candidates(const CostModel& model, const PlannerOptions& options)
        : model_(model), options_(options) {}

    //! True if it is the best one.
    bool offer(const Placement& placement) {
        const double seconds = estimate_step_s(model_, placement, options_);
        if (!(seconds < seconds_ * least_gain)) {
            return false;
        }
        seconds_ = seconds;
        best_ = placement;
        return true;
    }
    bool has_any() const { return !best_.stages.empty(); }
    const Placement& best() const { return best_; }

private:
    const CostModel& model_;
    const PlannerOptions& options_;
    Placement best_;
    double seconds_ = std::numeric_limits<double>::infinity();
};

std::size_t num_cuts_for(std::size_t num_devices) {
    return std::clamp(
        cuts_per_device * num_devices, least_num_cuts, most_num_cuts);
}

double median(std::vector<double> values) {
    const auto middle =
        values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    return *middle;
}

double typical_message_bytes(const CostModel& model,
                             const std::vector<std::size_t>& cuts) {
    std::vector<double> bytes;
    for (const std::size_t position : cuts) {
        bytes.push_back(model.cut(position).forward_bytes);
    }
    return median(std::move(bytes));
}

//! The same, compressed as far as the rule may.
double smallest_message_bytes(const CostModel& model,
                              const PlannerOptions& options,
                              const std::vector<std::size_t>& cuts) {
    std::vector<double> bytes;
    for (const std::size_t position : cuts) {
        double saved = 0;
        for (const CutOption& option : options.rule->options_at(position)) {
            saved = std::max(saved, option.saved.forward_bytes);
        }
        bytes.push_back(model.cut(position).forward_bytes - saved);
    }
    return median(std::move(bytes));
}

//! How many links of the placement cross each line; empty if none is shared.
std::vector<double> count_sharing(const CostModel& model,
                                  const Placement& placement) {
    const Network& network = model.network();
    std::vector<double> count(network.num_lines(), 0);
    const auto add = [&](DeviceId from, DeviceId to) {
        for (const LineId line : network.lines(from, to)) {
            count[line.get()] += 1;
        }
    };
    const auto& stages = placement.stages;
    for (std::size_t s = 0; s + 1 < stages.size(); ++s) {
        add(stages[s].devices.at(0), stages[s + 1].devices.at(0));
        add(stages[s + 1].devices.at(0), stages[s].devices.at(0));
    }
    const bool is_shared =
        std::ranges::any_of(count, [](double links) { return links > 1; });
    for (double& links : count) {
        links = std::max(links, 1.0);
    }
    return is_shared ? count : std::vector<double>{};
}

//! True if one of them is the best so far.
bool offer_partitions(const CostModel& model,
                      const PlannerOptions& options,
                      const std::vector<DeviceId>& order,
                      const std::vector<std::size_t>& cuts,
                      Candidates& candidates) {
    PartitionTask task{order,
                       cuts,
                       options.objective,
                       options.memory,
                       options.micro_batches,
                       options.use,
                       {},
                       options.rule};
    const auto alone = partition_contiguous(model, task);
    if (!alone) {
        return false;
    }
    const bool is_best = candidates.offer(*alone);
    task.sharing = count_sharing(model, *alone);
    if (task.sharing.empty() || order.size() > most_devices_both_ways) {
        return is_best;
    }
    // Shared lines at the price of the first answer.
    const auto shared = partition_contiguous(model, task);
    return (shared && candidates.offer(*shared)) || is_best;
}

std::size_t count_orders(std::size_t num_devices, std::size_t num_cuts) {
    const auto devices = static_cast<double>(num_devices);
    const auto cuts = static_cast<double>(num_cuts);
    return static_cast<std::size_t>(std::min(
        static_cast<double>(most_orders),
        order_budget /
            (solves_an_order * devices * cuts * (devices + cuts / 4))));
}

/*!
 * The path is short, but a slow device may stand in the way of a fast one, or
 * memory asks for another order: take devices out and put them elsewhere while
 * that helps, as far as the budget goes; small cases only.
 */
void offer_other_orders(const CostModel& model,
                        const PlannerOptions& options,
                        std::vector<DeviceId> order,
                        const std::vector<std::size_t>& cuts,
                        Candidates& candidates) {
    std::size_t left = count_orders(order.size(), cuts.size());
    if (left < order.size()) {
        return;
    }
    for (bool has_improved = true; has_improved;) {
        has_improved = false;
        for (std::size_t from = 0; from < order.size(); ++from) {
            for (std::size_t to = 0; to < order.size(); ++to) {
                if (from == to) {
                    continue;
                }
                if (left-- == 0) {
                    return;
                }
                std::vector<DeviceId> other = order;
                const DeviceId device = other[from];
                other.erase(other.begin() + static_cast<std::ptrdiff_t>(from));
                other.insert(other.begin() + static_cast<std::ptrdiff_t>(to),
                             device);
                if (offer_partitions(model, options, other, cuts, candidates)) {
                    order = std::move(other);
                    has_improved = true;
                }
            }
        }
    }
}

//! A line in which every device can run its ops, where their software differs;
//! `order` becomes it if one of its partitions is the best so far.
void offer_supported(const CostModel& model,
                     const PlannerOptions& options,
                     const std::vector<std::size_t>& cuts,
                     std::vector<DeviceId>& order,
                     Candidates& candidates) {
    if (model.op_support().is_everywhere()) {
        return;
    }
    const auto placement = place_by_support(model, order, options.use);
    if (!placement) {
        return;
    }
    std::vector<DeviceId> line;
    for (const StagePlacement& stage : placement->stages) {
        line.push_back(stage.devices.at(0));
    }
    for (const DeviceId device : order) {
        if (std::ranges::find(line, device) == line.end()) {
            line.push_back(device);
        }
    }
    const bool is_best = candidates.offer(*placement);
    if (offer_partitions(model, options, line, cuts, candidates) || is_best) {
        order = std::move(line);
    }
}

void offer_baselines(const CostModel& model,
                     const PlannerOptions& options,
                     Candidates& candidates) {
    if (model.num_devices() > model.most_stages()) {
        return;
    }
    for (const auto planner :
         {place_equal_ops, place_equal_flops, place_equal_memory}) {
        candidates.offer(planner(model, options));
    }
}

[[noreturn]] void refuse(const CostModel& model,
                         const PlannerOptions& options) {
    double memory_bytes = 0;
    for (std::size_t d = 0; d < model.num_devices(); ++d) {
        memory_bytes +=
            model.kind_of(DeviceId(static_cast<std::uint32_t>(d))).memory_bytes;
    }
    const OpRange all{0, model.num_ops()};
    throw InputError(fmt::format(
        "the model does not fit the devices: its parameters, gradients and "
        "optimizer state take {}, {} up to {} more, "
        "and the {} devices have {} in all, not all of it usable by a "
        "contiguous cut; try more micro-batches (train.micro_batches, now {}), "
        "a smaller train.batch, or more or larger devices",
        format_bytes(model.kept_bytes(all) - model.saved_bytes(all)),
        model.recompute() == Recompute::on ? "the micro-batch that computes"
                                           : "every micro-batch in flight",
        format_bytes(model.saved_bytes(all)),
        model.num_devices(),
        format_bytes(memory_bytes),
        options.micro_batches));
}

/*!
 * Of many devices a part may do better than all: stretches of the line of 8,
 * 16, 32, ... devices, of each length the one that promises most by its speed
 * and its slowest link.
 */
void offer_stretches(const CostModel& model,
                     const PlannerOptions& options,
                     const std::vector<DeviceId>& line,
                     double message_bytes,
                     Candidates& candidates) {
    const OpRange all{0, model.num_ops()};
    std::vector<double> speed_before{0};
    for (const DeviceId device : line) {
        speed_before.push_back(
            speed_before.back() +
            1 / (model.forward_s(device, all) + model.backward_s(device, all)));
    }
    for (std::size_t length = shortest_stretch; length < line.size();
         length *= 2) {
        double least_s = std::numeric_limits<double>::infinity();
        std::size_t best_begin = 0;
        for (std::size_t begin = 0; begin + length <= line.size(); ++begin) {
            double sum_s = 0;
            double most_s =
                1 / (speed_before[begin + length] - speed_before[begin]);
            for (std::size_t d = begin; d + 1 < begin + length; ++d) {
                const Link link = model.network().link(line[d], line[d + 1]);
                sum_s += 2 * transfer_s(link, message_bytes);
                most_s = std::max(most_s,
                                  message_bytes / link.bandwidth_bytes_per_s);
            }
            const double step_s = sum_s + options.micro_batches * most_s;
            if (step_s < least_s) {
                least_s = step_s;
                best_begin = begin;
            }
        }
        const auto first =
            line.begin() + static_cast<std::ptrdiff_t>(best_begin);
        offer_partitions(model,
                         options,
                         {first, first + static_cast<std::ptrdiff_t>(length)},
                         cheap_cuts(model, num_cuts_for(length)),
                         candidates);
    }
}

}  // namespace

Placement place_op_fence(const CostModel& model,
                         const PlannerOptions& options) {
    if (options.use == DeviceUse::all) {
        check_devices(model);
    }
    const auto cuts = cheap_cuts(model, num_cuts_for(model.num_devices()));
    const auto groups = find_device_groups(model.network());
    Candidates candidates(model, options);
    std::vector<DeviceId> order;
    const auto offer_order = [&](double message_bytes) {
        auto line = order_devices(groups, model.network(), message_bytes);
        if (line == order) {
            return;
        }
        if (options.use == DeviceUse::any && line.size() > shortest_stretch) {
            offer_stretches(model, options, line, message_bytes, candidates);
        }
        if (offer_partitions(model, options, line, cuts, candidates) ||
            order.empty()) {
            order = line;
        }
        if (line.size() <= most_devices_both_ways) {
            std::vector<DeviceId> back(line.rbegin(), line.rend());
            if (offer_partitions(model, options, back, cuts, candidates)) {
                order = std::move(back);
            }
        }
    };
    if (options.rule != nullptr) {
        offer_order(smallest_message_bytes(model, options, cuts));
    }
    if (options.rule == nullptr ||
        model.num_devices() <= most_devices_both_ways) {
        offer_order(typical_message_bytes(model, cuts));
    }
    offer_supported(model, options, cuts, order, candidates);
    offer_baselines(model, options, candidates);
    offer_other_orders(model, options, order, cuts, candidates);
    if (!candidates.has_any()) {
        refuse(model, options);
    }
    const auto evaluate = [&](const Placement& placement, double) {
        return estimate_step_s(model, placement, options);
    };
    return improve_placement(
        candidates.best(),
        model.num_devices(),
        evaluate,
        std::min(most_evaluations,
                 search_budget / candidates.best().stages.size()));
}

}  // namespace fusionllm
