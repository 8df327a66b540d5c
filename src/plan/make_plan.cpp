#include "fusionllm/plan/make_plan.hpp"

#include <algorithm>
#include <map>

#include <fmt/ranges.h>

#include "fusionllm/plan/device_groups.hpp"

namespace fusionllm {
namespace {

//! "lyon", or "lyon+graz" in the order in which the sites appear.
std::string name_sites(const Topology& topology, const DeviceSet& devices) {
    std::vector<std::string> sites;
    for (const DeviceId device : devices) {
        const std::string& site = topology.devices[device.get()].site;
        if (std::ranges::find(sites, site) == sites.end()) {
            sites.push_back(site);
        }
    }
    return fmt::format("{}", fmt::join(sites, "+"));
}

}  // namespace

std::vector<DeviceGroup> make_groups(const Topology& topology) {
    std::vector<DeviceGroup> groups;
    std::map<std::string, int> num_named;
    for (const DeviceSet& devices : find_device_groups(Network(topology))) {
        groups.push_back({name_sites(topology, devices), devices});
        ++num_named[groups.back().name];
    }
    std::map<std::string, int> number;
    for (DeviceGroup& group : groups) {
        if (num_named[group.name] > 1) {
            group.name += fmt::format(".{}", ++number[group.name]);
        }
    }
    return groups;
}

Plan assemble_plan(const OpGraph& graph,
                   const Topology& topology,
                   const Placement& placement,
                   const std::string& schedule_name,
                   int micro_batches,
                   const std::vector<int>& in_flight) {
    Plan plan;
    plan.graph_hash = graph_hash(graph);
    plan.placement = placement;
    plan.schedule = schedule_name;
    plan.micro_batches = micro_batches;
    plan.in_flight = in_flight;
    plan.groups = make_groups(topology);
    validate(plan, graph, topology.devices.size());
    return plan;
}

PlannerOptions planner_options(const std::string& schedule_name,
                               int micro_batches) {
    PlannerOptions options;
    options.micro_batches = micro_batches;
    if (schedule_name == "gpipe") {
        options.objective = Objective::sweeps;
        options.memory = MemoryNeed::all_in_flight;
    }
    return options;
}

Plan make_plan(const OpGraph& graph,
               const Workload& workload,
               const Topology& topology,
               const std::string& partition_name,
               const std::string& schedule_name,
               int micro_batches) {
    const CostModel model(graph, workload, topology, 0);
    const Placement placement = partition(
        partition_name, model, planner_options(schedule_name, micro_batches));
    return assemble_plan(
        graph, topology, placement, schedule_name, micro_batches, {});
}

}  // namespace fusionllm
