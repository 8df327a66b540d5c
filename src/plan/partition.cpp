#include "fusionllm/plan/partition.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "fusionllm/plan/contiguous_partition.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"
#include "fusionllm/util/text.hpp"

#include "balanced_split.hpp"

namespace fusionllm {
namespace {

std::vector<DeviceId> order_of(const CostModel& model,
                               const PlannerOptions& options) {
    std::vector<DeviceId> order;
    for (std::size_t d = 0; d < model.num_devices(); ++d) {
        order.emplace_back(static_cast<std::uint32_t>(d));
    }
    if (options.device_order == DeviceOrder::random) {
        const std::uint64_t key = derive_key(options.seed, "device order");
        std::ranges::sort(order, {}, [&](DeviceId device) {
            return std::pair(derive_key(key, device.get()), device);
        });
    }
    return order;
}

/*!
 * The same number of stages, which end where the graph can be cut: each as near
 * as it can be to where it ended, from the first one on.
 */
std::vector<std::size_t> move_to_cuttable(const CostModel& model,
                                          std::vector<std::size_t> cuts) {
    const std::vector<std::size_t> places = all_cuts(model);
    std::size_t next = 1;  // the first place that is left
    for (std::size_t s = 1; s + 1 < cuts.size(); ++s) {
        const auto first = places.begin() + static_cast<std::ptrdiff_t>(next);
        const auto last =
            places.end() - static_cast<std::ptrdiff_t>(cuts.size() - 1 - s);
        auto found = std::lower_bound(first, last, cuts[s]);
        if (found == last ||
            (found != first && cuts[s] - found[-1] <= found[0] - cuts[s])) {
            --found;
        }
        cuts[s] = *found;
        next = static_cast<std::size_t>(found - places.begin()) + 1;
    }
    return cuts;
}

//! Stage s runs the ops [cuts[s], cuts[s + 1]) on device s of the order.
Placement make_placement(const CostModel& model,
                         const std::vector<std::size_t>& wanted,
                         const std::vector<DeviceId>& order) {
    const std::vector<std::size_t> cuts = move_to_cuttable(model, wanted);
    Placement placement;
    for (std::size_t s = 0; s + 1 < cuts.size(); ++s) {
        placement.stages.push_back({{cuts[s], cuts[s + 1]}, {order[s]}});
    }
    return placement;
}

//! `work(ops)` of the ops before each position.
template <class Work>
std::vector<double> work_before(const CostModel& model, Work work) {
    std::vector<double> before;
    for (std::size_t i = 0; i <= model.num_ops(); ++i) {
        before.push_back(work(OpRange{0, i}));
    }
    return before;
}

using Planner = Placement (*)(const CostModel&, const PlannerOptions&);

const std::vector<std::pair<std::string, Planner>>& planners() {
    static const std::vector<std::pair<std::string, Planner>> list = {
        {"op_fence", place_op_fence},
        {"equal_flops", place_equal_flops},
        {"equal_ops", place_equal_ops},
        {"equal_memory", place_equal_memory},
        {"exhaustive", place_exhaustive},
    };
    return list;
}

}  // namespace

void check_devices(const CostModel& model) {
    const std::size_t num_devices = model.num_devices();
    FUSIONLLM_VALIDATE(num_devices >= 1,
                       "the topology has no devices; it needs at least one");
    FUSIONLLM_VALIDATE(num_devices <= model.num_ops(),
                       "{} devices but only {} ops; every device runs at least "
                       "one: start at most {} ranks or take a deeper model "
                       "(with a described [topology], the partition "
                       "\"op_fence\" may leave devices out)",
                       num_devices,
                       model.num_ops(),
                       model.num_ops());
    FUSIONLLM_VALIDATE(
        num_devices <= model.most_stages(),
        "{} devices but at most {} stages: ops that change a "
        "buffer together, such as a batch norm that is used more "
        "than once, share one; start at most {} ranks (with a "
        "described [topology], the partition \"op_fence\" may "
        "leave devices out)",
        num_devices,
        model.most_stages(),
        model.most_stages());
}

Placement place_equal_ops(const CostModel& model,
                          const PlannerOptions& options) {
    check_devices(model);
    const std::size_t num_stages = model.num_devices();
    std::vector<std::size_t> cuts;
    for (std::size_t s = 0; s <= num_stages; ++s) {
        cuts.push_back(s * model.num_ops() / num_stages);
    }
    return make_placement(model, cuts, order_of(model, options));
}

Placement place_equal_flops(const CostModel& model,
                            const PlannerOptions& options) {
    check_devices(model);
    const std::vector<DeviceId> order = order_of(model, options);
    std::vector<double> speeds;
    for (const DeviceId device : order) {
        const DeviceKind& kind = model.kind_of(device);
        FUSIONLLM_VALIDATE(kind.flops_per_s > 0,
                           "device {} of kind '{}' has a speed of {} flop/s; "
                           "give it one above 0",
                           device.get(),
                           kind.name,
                           kind.flops_per_s);
        speeds.push_back(kind.flops_per_s);
    }
    const auto before =
        work_before(model, [&](OpRange ops) { return model.flops(ops); });
    return make_placement(
        model, detail::split_in_proportion(before, speeds), order);
}

Placement place_equal_memory(const CostModel& model,
                             const PlannerOptions& options) {
    check_devices(model);
    const std::vector<DeviceId> order = order_of(model, options);
    const bool is_known = std::ranges::all_of(order, [&](DeviceId device) {
        return model.kind_of(device).memory_bytes > 0;
    });
    std::vector<double> sizes;
    for (const DeviceId device : order) {
        sizes.push_back(is_known ? model.kind_of(device).memory_bytes : 1);
    }
    const auto before =
        work_before(model, [&](OpRange ops) { return model.kept_bytes(ops); });
    return make_placement(
        model, detail::split_in_proportion(before, sizes), order);
}

double estimate_step_s(const CostModel& model,
                       const Placement& placement,
                       const PlannerOptions& options) {
    if (options.use == DeviceUse::all &&
        placement.stages.size() < model.num_devices()) {
        return std::numeric_limits<double>::infinity();
    }
    const auto num_stages = static_cast<int>(placement.stages.size());
    for (int s = 0; s < num_stages; ++s) {
        const StagePlacement& stage = placement.stages[s];
        const int in_flight =
            options.memory == MemoryNeed::all_in_flight
                ? options.micro_batches
                : std::min(num_stages - s, options.micro_batches);
        if (model.max_in_flight(stage.devices.at(0), stage.ops) < in_flight) {
            return std::numeric_limits<double>::infinity();
        }
    }
    std::vector<Fence> fences;
    double price = 1;
    if (options.rule != nullptr) {
        fences = options.rule->choose(
            placement,
            {options.objective, LinkTime::busy, options.micro_batches});
        price = options.rule->price(fences);
    }
    return price * analytic_step_s(model.step_costs(placement, fences),
                                   model.network(),
                                   options.micro_batches,
                                   options.objective);
}

const std::vector<std::string>& partition_names() {
    static const std::vector<std::string> names = [] {
        std::vector<std::string> names;
        for (const auto& [name, function] : planners()) {
            names.push_back(name);
        }
        return names;
    }();
    return names;
}

Placement partition(const std::string& name,
                    const CostModel& model,
                    const PlannerOptions& options) {
    for (const auto& [known, function] : planners()) {
        if (known == name) {
            return function(model, options);
        }
    }
    throw InputError(fmt::format("there is no partition '{}' (known: {}){}",
                                 name,
                                 fmt::join(partition_names(), ", "),
                                 did_you_mean(name, partition_names())));
}

}  // namespace fusionllm
