#include "fusionllm/topology/topology.hpp"

#include <algorithm>
#include <map>

#include "fusionllm/topology/topology_spec.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

void check_count(std::size_t num_ranks, const Topology& topology) {
    const auto num_devices = topology.devices.size();
    FUSIONLLM_VALIDATE(
        num_ranks == num_devices,
        "{} rank{} but the topology has {} device{}; every rank holds one "
        "device: start {} rank{} (mpirun -np {}) or change [topology]",
        num_ranks,
        num_ranks == 1 ? "" : "s",
        num_devices,
        num_devices == 1 ? "" : "s",
        num_devices,
        num_devices == 1 ? "" : "s",
        num_devices);
}

std::vector<DeviceId> match_by_order(std::size_t num_ranks) {
    std::vector<DeviceId> device_of_rank;
    for (std::size_t r = 0; r < num_ranks; ++r) {
        device_of_rank.emplace_back(static_cast<std::uint32_t>(r));
    }
    return device_of_rank;
}

using DeviceList = std::vector<DeviceId>;

//! Devices under one key, lists in the order of the keys' first appearance.
struct Grouped {
    std::vector<std::string> keys;
    std::map<std::string, DeviceList> devices;

    void add(const std::string& key, DeviceId device) {
        if (!devices.contains(key)) {
            keys.push_back(key);
        }
        devices[key].push_back(device);
    }
};

//! Host names with the number of their ranks, in order of first appearance.
std::vector<std::pair<std::string, std::size_t>> count_ranks(
    const std::vector<std::string>& host_of_rank) {
    std::vector<std::pair<std::string, std::size_t>> counts;
    for (const auto& host : host_of_rank) {
        const auto known = std::ranges::find(
            counts, host, &std::pair<std::string, std::size_t>::first);
        if (known == counts.end()) {
            counts.emplace_back(host, 1);
        } else {
            ++known->second;
        }
    }
    return counts;
}

//! Take `num` devices from the first site that has as many left.
DeviceList take_from_site(Grouped& free_of_site,
                          const std::string& host,
                          std::size_t num) {
    std::vector<std::string> left;
    for (const auto& site : free_of_site.keys) {
        auto& free = free_of_site.devices[site];
        if (free.size() >= num) {
            const auto end = free.begin() + static_cast<std::ptrdiff_t>(num);
            DeviceList taken(free.begin(), end);
            free.erase(free.begin(), end);
            return taken;
        }
        left.push_back(fmt::format("'{}' {}", site, free.size()));
    }
    throw InputError(fmt::format(
        "host '{}' has {} rank{}, but no site has as many devices without a "
        "host left ({}); a host belongs to one site: start as many ranks on "
        "the hosts as the sites have devices, name the devices' hosts, or set "
        "match = \"order\" in [topology]",
        host,
        num,
        num == 1 ? "" : "s",
        left.empty() ? "every device names its host"
                     : fmt::format("{}", fmt::join(left, ", "))));
}

std::vector<DeviceId> match_by_host(
    const Topology& topology, const std::vector<std::string>& host_of_rank) {
    Grouped of_host;
    Grouped free_of_site;
    for (std::size_t d = 0; d < topology.devices.size(); ++d) {
        const Device& device = topology.devices[d];
        const DeviceId id(static_cast<std::uint32_t>(d));
        if (device.host.empty()) {
            free_of_site.add(device.site, id);
        } else {
            of_host.add(device.host, id);
        }
    }
    for (const auto& [host, num] : count_ranks(host_of_rank)) {
        if (!of_host.devices.contains(host)) {
            of_host.devices[host] = take_from_site(free_of_site, host, num);
            continue;
        }
        const auto available = of_host.devices[host].size();
        FUSIONLLM_VALIDATE(
            num == available,
            "host '{}' has {} rank{} but the topology gives it {} device{}; "
            "start {} there or change its devices",
            host,
            num,
            num == 1 ? "" : "s",
            available,
            available == 1 ? "" : "s",
            available);
    }
    std::map<std::string, std::size_t> num_taken;
    std::vector<DeviceId> device_of_rank;
    for (const auto& host : host_of_rank) {
        device_of_rank.push_back(of_host.devices[host][num_taken[host]++]);
    }
    return device_of_rank;
}

}  // namespace

Topology make_topology(const std::vector<SiteSpec>& sites) {
    TopologySpec spec;
    spec.sites = sites;
    return make_topology(spec);
}

Topology make_uniform_topology(int num_devices) {
    return make_topology(std::vector<SiteSpec>{{"local", num_devices}});
}

std::vector<DeviceId> match_ranks(
    const Topology& topology,
    Match match,
    const std::vector<std::string>& host_of_rank) {
    check_count(host_of_rank.size(), topology);
    if (match == Match::order) {
        return match_by_order(host_of_rank.size());
    }
    return match_by_host(topology, host_of_rank);
}

}  // namespace fusionllm
