#include "fusionllm/topology/network.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

void check_site_links(const Topology& topology) {
    const std::size_t num_sites = topology.sites.size();
    FUSIONLLM_VALIDATE(topology.site_links.size() == num_sites * num_sites,
                       "the topology has {} sites but {} links between them "
                       "instead of {}, one for each ordered pair; build it "
                       "with make_topology",
                       num_sites,
                       topology.site_links.size(),
                       num_sites * num_sites);
}

void limit(Link& link, double bytes_per_s) {
    if (bytes_per_s > 0) {
        link.bandwidth_bytes_per_s =
            std::min(link.bandwidth_bytes_per_s, bytes_per_s);
    }
}

}  // namespace

Network::Network(const Topology& topology)
    : sites_(topology.sites), site_links_(topology.site_links) {
    check_site_links(topology);
    index_devices(topology);
    add_lines(topology);
    add_own_links(topology);
}

void Network::index_devices(const Topology& topology) {
    std::map<std::string, std::size_t> site_indices;
    for (std::size_t s = 0; s < sites_.size(); ++s) {
        site_indices.emplace(sites_[s].name, s);
    }
    using HostOfSite = std::pair<std::size_t, std::string>;
    std::map<HostOfSite, std::size_t> host_indices;
    std::size_t num_hosts = 0;
    for (const Device& device : topology.devices) {
        const auto site = site_indices.find(device.site);
        FUSIONLLM_VALIDATE(site != site_indices.end(),
                           "device '{}' is at the site '{}', which the "
                           "topology does not have; name one of its sites",
                           device.name,
                           device.site);
        site_of_device_.push_back(site->second);
        device_names_.push_back(device.name);
        const HostOfSite host{site->second, device.host};
        const bool is_shared =
            !device.host.empty() && host_indices.contains(host);
        if (!is_shared) {
            host_indices[host] = num_hosts++;
        }
        host_of_device_.push_back(host_indices[host]);
    }
}

void Network::add_lines(const Topology& topology) {
    const auto add = [&](std::string name, double bytes_per_s) {
        lines_.push_back({std::move(name), bytes_per_s});
        return LineId(static_cast<std::uint32_t>(lines_.size() - 1));
    };
    const auto add_limited = [&](std::string name, double bytes_per_s) {
        return bytes_per_s > 0 ? std::optional(add(name, bytes_per_s))
                               : std::nullopt;
    };
    for (const Site& site : sites_) {
        uplinks_.push_back(
            add_limited("uplink of " + site.name, site.uplink_bytes_per_s));
        downlinks_.push_back(
            add_limited("downlink of " + site.name, site.downlink_bytes_per_s));
    }
    const std::size_t num_sites = sites_.size();
    site_lines_.assign(num_sites * num_sites, LineId(0));
    for (std::size_t a = 0; a < num_sites; ++a) {
        for (std::size_t b = 0; b < num_sites; ++b) {
            const std::size_t at = a * num_sites + b;
            if (a != b) {
                site_lines_[at] =
                    add(sites_[a].name + "-" + sites_[b].name,
                        topology.site_links[at].bandwidth_bytes_per_s);
            }
        }
    }
}

void Network::add_own_links(const Topology& topology) {
    for (const DeviceLink& own : topology.device_links) {
        FUSIONLLM_VALIDATE(
            own.from.get() < num_devices() && own.to.get() < num_devices(),
            "a link of the topology joins the devices number {} and {}, but "
            "it has only {} devices",
            own.from.get(),
            own.to.get(),
            num_devices());
        own_links_.insert_or_assign(key(own.from, own.to), own.link);
    }
}

std::uint64_t Network::key(DeviceId from, DeviceId to) const {
    return std::uint64_t{from.get()} * num_devices() + to.get();
}

const Link* Network::find_own_link(DeviceId from, DeviceId to) const {
    if (own_links_.empty()) {
        return nullptr;
    }
    const auto found = own_links_.find(key(from, to));
    return found == own_links_.end() ? nullptr : &found->second;
}

Link Network::link(DeviceId from, DeviceId to) const {
    const std::size_t a = site_of(from);
    const std::size_t b = site_of(to);
    if (from == to) {
        return {};
    }
    const Link* own = find_own_link(from, to);
    if (a == b) {
        const bool is_one_host =
            host_of_device_[from.get()] == host_of_device_[to.get()];
        return own != nullptr ? *own
               : is_one_host  ? sites_[a].host_link
                              : sites_[a].link;
    }
    Link link = own != nullptr ? *own : site_links_[a * sites_.size() + b];
    limit(link, sites_[a].uplink_bytes_per_s);
    limit(link, sites_[b].downlink_bytes_per_s);
    return link;
}

LineList Network::lines(DeviceId from, DeviceId to) const {
    const std::size_t a = site_of(from);
    const std::size_t b = site_of(to);
    LineList list;
    if (a == b) {
        return list;
    }
    if (uplinks_[a]) {
        list.push_back(*uplinks_[a]);
    }
    if (find_own_link(from, to) == nullptr) {
        list.push_back(site_lines_[a * sites_.size() + b]);
    }
    if (downlinks_[b]) {
        list.push_back(*downlinks_[b]);
    }
    return list;
}

std::string Network::name(DeviceId from, DeviceId to) const {
    const std::size_t a = site_of(from);
    const std::size_t b = site_of(to);
    if (a == b || find_own_link(from, to) != nullptr) {
        return fmt::format(
            "{} to {}", device_names_[from.get()], device_names_[to.get()]);
    }
    return sites_[a].name + "-" + sites_[b].name;
}

double transfer_s(const Link& link, double bytes) {
    return latency_s(link, bytes) + bytes / link.bandwidth_bytes_per_s;
}

}  // namespace fusionllm
