#include "app/probe_sites.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include <fmt/core.h>

#include "fusionllm/topology/network.hpp"
#include "fusionllm/util/units.hpp"

#include "app/topology_toml.hpp"

namespace fusionllm {
namespace {

using Pair = std::pair<int, int>;

enum class Hosts { same, different };

/*!
 * A site's name must not be that of another one's device: a host "gpu" with two
 * ranks has the device "gpu-1". Where a host is called that, too, the first one
 * becomes the site "gpu.2": hosts cannot be renamed.
 */
void part_from_devices(std::vector<SiteSpec>& sites) {
    std::set<std::string> names;
    for (const SiteSpec& site : sites) {
        names.insert(site.name);
    }
    const auto has_site_as_device = [&](const std::string& name, int ranks) {
        bool has = false;
        for (int i = 0; i < ranks; ++i) {
            has = has || names.contains(fmt::format("{}-{}", name, i));
        }
        return has;
    };
    for (SiteSpec& site : sites) {
        std::string name = site.name;
        for (int number = 2; has_site_as_device(name, site.ranks) ||
                             (name != site.name && names.contains(name));
             ++number) {
            name = fmt::format("{}.{}", site.name, number);
        }
        names.insert(name);
        site.name = name;
    }
}

std::vector<SiteSpec> sites_of_hosts(const std::vector<std::string>& hosts,
                                     std::vector<int>& site_of_rank) {
    std::vector<SiteSpec> sites;
    for (const std::string& host : hosts) {
        auto site = std::ranges::find(sites, host, &SiteSpec::name);
        if (site == sites.end()) {
            site = sites.insert(site, SiteSpec{host, 0});
        }
        ++site->ranks;
        site_of_rank.push_back(static_cast<int>(site - sites.begin()));
    }
    part_from_devices(sites);
    return sites;
}

//! The first two ranks of a site on such hosts.
std::optional<Pair> find_pair(const ProbeSites& sites, int site, Hosts hosts) {
    const auto num_ranks = static_cast<int>(sites.hosts.size());
    for (int a = 0; a < num_ranks; ++a) {
        for (int b = a + 1; b < num_ranks; ++b) {
            const auto i = static_cast<std::size_t>(a);
            const auto j = static_cast<std::size_t>(b);
            if (sites.site_of_rank[i] == site &&
                sites.site_of_rank[j] == site &&
                (sites.hosts[i] == sites.hosts[j]) == (hosts == Hosts::same)) {
                return Pair(a, b);
            }
        }
    }
    return std::nullopt;
}

double rounded(double number) {
    return std::stod(fmt::format("{:.2e}", number));
}

Link worse(const Link& a, const Link& b) {
    Link link = a.rendezvous_s >= b.rendezvous_s ? a : b;
    link.latency_s = std::max(a.latency_s, b.latency_s);
    link.bandwidth_bytes_per_s =
        std::min(a.bandwidth_bytes_per_s, b.bandwidth_bytes_per_s);
    link.within = std::max(a.within, b.within);
    return link;
}

//! Messages between sites go in pieces for which MPI does not ask.
Link without_rendezvous(Link link) {
    link.eager_bytes = 0;
    link.rendezvous_s = 0;
    return link;
}

int site_of(const ProbeSites& sites, int rank) {
    return sites.site_of_rank.at(static_cast<std::size_t>(rank));
}

//! What was measured inside a site, between ranks on such hosts.
std::optional<Link> find_inside(const ProbeSites& sites,
                                int site,
                                Hosts hosts,
                                const std::vector<MeasuredLink>& links) {
    const auto pair = find_pair(sites, site, hosts);
    std::optional<Link> found;
    for (const MeasuredLink& link : links) {
        if (pair && std::minmax(link.from, link.to) ==
                        std::minmax(pair->first, pair->second)) {
            found = found ? worse(*found, link_of(link)) : link_of(link);
        }
    }
    return found;
}

}  // namespace

ProbeSites make_probe_sites(const RunInput& input,
                            const std::vector<std::string>& hosts) {
    ProbeSites sites{input.topology.spec, {}, {}, hosts};
    if (sites.spec.sites.empty()) {
        sites.spec.sites = sites_of_hosts(hosts, sites.site_of_rank);
        sites.device_of_rank =
            match_ranks(make_topology(sites.spec), Match::host, hosts);
        return sites;
    }
    const Topology topology = make_topology(sites.spec);
    sites.device_of_rank =
        match_ranks(topology,
                    input.topology.match == "host" ? Match::host : Match::order,
                    hosts);
    const Network network(topology);
    for (const DeviceId device : sites.device_of_rank) {
        sites.site_of_rank.push_back(static_cast<int>(network.site_of(device)));
    }
    return sites;
}

Link link_of(const MeasuredLink& link) {
    const bool has_step = link.rendezvous_s > 0;
    return {rounded(link.latency_s),
            rounded(8 * link.bytes_per_s) / 8,
            has_step ? static_cast<double>(link.eager_bytes) : 0,
            has_step ? rounded(link.rendezvous_s) : 0,
            std::clamp(std::ceil(100 * link.error), 1.0, 100.0) / 100};
}

std::vector<std::vector<Pair>> make_probe_rounds(const ProbeSites& sites) {
    std::vector<int> first_ranks;
    const auto num_sites = static_cast<int>(sites.spec.sites.size());
    for (int site = 0; site < num_sites; ++site) {
        first_ranks.push_back(
            static_cast<int>(std::ranges::find(sites.site_of_rank, site) -
                             sites.site_of_rank.begin()));
    }
    std::vector<std::vector<Pair>> rounds = make_rounds(num_sites);
    for (auto& round : rounds) {
        for (auto& [a, b] : round) {
            a = first_ranks[static_cast<std::size_t>(a)];
            b = first_ranks[static_cast<std::size_t>(b)];
        }
    }
    for (int site = 0; site < num_sites; ++site) {
        for (const Hosts hosts : {Hosts::same, Hosts::different}) {
            if (const auto pair = find_pair(sites, site, hosts)) {
                rounds.push_back({*pair});
            }
        }
    }
    return rounds;
}

TopologySpec with_measured_links(const ProbeSites& sites,
                                 const std::vector<MeasuredLink>& links) {
    TopologySpec spec = sites.spec;
    const auto is_site = [&](const std::string& name) {
        return std::ranges::find(spec.sites, name, &SiteSpec::name) !=
               spec.sites.end();
    };
    std::erase_if(spec.links,
                  [&](const LinkSpec& link) { return is_site(link.from); });
    for (const MeasuredLink& link : links) {
        const int from = site_of(sites, link.from);
        const int to = site_of(sites, link.to);
        if (from != to) {
            spec.links.push_back(
                {spec.sites[static_cast<std::size_t>(from)].name,
                 spec.sites[static_cast<std::size_t>(to)].name,
                 without_rendezvous(link_of(link))});
        }
    }
    for (std::size_t i = 0; i < spec.sites.size(); ++i) {
        const int site = static_cast<int>(i);
        const auto on_host = find_inside(sites, site, Hosts::same, links);
        const auto between = find_inside(sites, site, Hosts::different, links);
        if (between) {
            spec.sites[i].link = *between;
        }
        if (on_host) {
            (between ? spec.sites[i].host_link.emplace() : spec.sites[i].link) =
                *on_host;
        }
    }
    return spec;
}

std::string probed_topology_text(const ProbeSites& sites,
                                 const std::vector<MeasuredLink>& links) {
    const TopologySpec spec = with_measured_links(sites, links);
    std::string text =
        "# Links as `fusionllm probe` measured them, one after another, while "
        "nothing\n# else used them.\n";
    const auto add_list = [&](const char* key, const auto& items) {
        text += fmt::format("{} = [\n", key);
        for (const auto& item : items) {
            text += fmt::format("    {},\n", detail::show_toml(item));
        }
        text += "]\n";
    };
    if (!spec.kinds.empty()) {
        add_list("device_kinds", spec.kinds);
    }
    add_list("sites", spec.sites);
    add_list("links", spec.links);
    return text;
}

}  // namespace fusionllm
