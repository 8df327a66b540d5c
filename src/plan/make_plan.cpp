#include "fusionllm/plan/make_plan.hpp"

#include <algorithm>

#include "fusionllm/plan/partition.hpp"

namespace fusionllm {

std::vector<DeviceGroup> make_groups(const Topology& topology) {
    std::vector<DeviceGroup> groups;
    for (std::size_t d = 0; d < topology.devices.size(); ++d) {
        const std::string& site = topology.devices[d].site;
        auto group = std::ranges::find(groups, site, &DeviceGroup::name);
        if (group == groups.end()) {
            group = groups.insert(groups.end(), {site, {}});
        }
        group->devices.emplace_back(static_cast<std::uint32_t>(d));
    }
    return groups;
}

Plan make_plan(const OpGraph& graph,
               const Workload& workload,
               const Topology& topology,
               const std::string& partition_name,
               const std::string& schedule_name,
               int micro_batches) {
    Plan plan;
    plan.graph_hash = graph_hash(graph);
    plan.placement = partition(partition_name, graph, workload, topology);
    plan.schedule = schedule_name;
    plan.micro_batches = micro_batches;
    plan.groups = make_groups(topology);
    validate(plan, graph, topology.devices.size());
    return plan;
}

}  // namespace fusionllm
