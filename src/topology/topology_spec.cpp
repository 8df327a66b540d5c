#include "fusionllm/topology/topology_spec.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include <fmt/ranges.h>

#include "fusionllm/util/text.hpp"

namespace fusionllm {
namespace {

using Part = TopologySpecError::Part;

constexpr int max_ranks = 1'000'000;

//! Runs `action(i)` for every index; its errors become those of the part.
template <class Action>
void for_each_of(Part part, std::size_t num, const Action& action) {
    for (std::size_t i = 0; i < num; ++i) {
        try {
            action(i);
        } catch (const InputError& error) {
            throw TopologySpecError(part, i, error.what());
        }
    }
}

bool is_amount(double number) {
    return std::isfinite(number) && number >= 0;
}

void check_link(const Link& link, const std::string& what) {
    FUSIONLLM_VALIDATE(std::isfinite(link.bandwidth_bytes_per_s) &&
                           link.bandwidth_bytes_per_s > 0,
                       "{} has the bandwidth {} B/s; it must be above 0",
                       what,
                       link.bandwidth_bytes_per_s);
    FUSIONLLM_VALIDATE(is_amount(link.latency_s),
                       "{} has the latency {} s; it must be at least 0",
                       what,
                       link.latency_s);
    FUSIONLLM_VALIDATE(
        is_amount(link.eager_bytes) && is_amount(link.rendezvous_s),
        "{} has a rendezvous above {} B of {} s; both must be at least 0",
        what,
        link.eager_bytes,
        link.rendezvous_s);
    FUSIONLLM_VALIDATE(link.within >= 0 && link.within <= 1,
                       "{} was measured within {}; that is a share from 0 to "
                       "1, such as 0.03",
                       what,
                       link.within);
}

bool is_efficiency(double number) {
    return std::isfinite(number) && number > 0;
}

void check_kind(const DeviceKind& kind) {
    FUSIONLLM_VALIDATE(!kind.name.empty(),
                       "a kind of device has no name; give it one");
    FUSIONLLM_VALIDATE(
        std::isfinite(kind.flops_per_s) && kind.flops_per_s > 0,
        "device kind '{}' computes {} flop/s in fp32; it must be above 0",
        kind.name,
        kind.flops_per_s);
    const double amounts[] = {kind.half_flops_per_s,
                              kind.memory_bytes,
                              kind.memory_bandwidth_bytes_per_s,
                              static_cast<double>(kind.cores),
                              kind.op_overhead_s,
                              kind.copy_bytes_per_s,
                              kind.update_bytes_per_s};
    FUSIONLLM_VALIDATE(std::ranges::all_of(amounts, is_amount),
                       "device kind '{}' has a negative amount; what is not "
                       "known is left out",
                       kind.name);
    FUSIONLLM_VALIDATE(
        std::ranges::all_of(kind.forward_efficiency, is_efficiency) &&
            std::ranges::all_of(kind.backward_efficiency, is_efficiency),
        "device kind '{}' has an efficiency that is not above 0; it is the "
        "share of the peak that is reached, such as 0.5",
        kind.name);
    for (const MeasuredOp& op : kind.measured) {
        FUSIONLLM_VALIDATE(is_amount(op.forward_s) && is_amount(op.backward_s),
                           "device kind '{}' has measured op '{}' with a "
                           "negative time; measure it again",
                           kind.name,
                           op.signature);
    }
}

class TopologyMaker {
public:
    explicit TopologyMaker(const TopologySpec& spec) : spec_(spec) {}

    Topology make() {
        add_kinds();
        FUSIONLLM_VALIDATE(!spec_.sites.empty(),
                           "the topology has no sites; name at least one with "
                           "its number of ranks");
        for_each_of(Part::default_link, 1, [&](std::size_t) {
            check_link(spec_.default_link, "the default link");
        });
        for_each_of(Part::sites, spec_.sites.size(), [&](std::size_t i) {
            add_site(spec_.sites[i]);
        });
        for_each_of(Part::sites, spec_.sites.size(), [&](std::size_t i) {
            check_apart_from_devices(spec_.sites[i].name);
        });
        topology_.site_links.resize(spec_.sites.size() * spec_.sites.size(),
                                    spec_.default_link);
        for_each_of(Part::links, spec_.links.size(), [&](std::size_t i) {
            add_link(spec_.links[i]);
        });
        return std::move(topology_);
    }

private:
    void add_kinds() {
        for_each_of(Part::kinds, spec_.kinds.size(), [&](std::size_t i) {
            const DeviceKind& kind = spec_.kinds[i];
            check_kind(kind);
            const auto index = static_cast<std::uint32_t>(i);
            FUSIONLLM_VALIDATE(kinds_.emplace(kind.name, index).second,
                               "two device kinds are named '{}'; give every "
                               "kind its own name",
                               kind.name);
            kind_names_.push_back(kind.name);
        });
        topology_.kinds = spec_.kinds;
        if (topology_.kinds.empty()) {
            kinds_.emplace(topology_.kinds.emplace_back().name, 0);
        }
    }

    void add_site(const SiteSpec& spec) {
        FUSIONLLM_VALIDATE(!spec.name.empty(),
                           "a site of the topology has no name; give it one");
        const auto index = topology_.sites.size();
        FUSIONLLM_VALIDATE(sites_.emplace(spec.name, index).second,
                           "site '{}' is in the topology twice; give every "
                           "site its own name or add up its ranks",
                           spec.name);
        check_link(spec.link, fmt::format("the link in site '{}'", spec.name));
        const Link host_link = spec.host_link.value_or(spec.link);
        check_link(host_link,
                   fmt::format("the link in hosts of site '{}'", spec.name));
        FUSIONLLM_VALIDATE(
            is_amount(spec.uplink_bytes_per_s) &&
                is_amount(spec.downlink_bytes_per_s),
            "site '{}' has an uplink or downlink below 0; leave out what is "
            "not limited",
            spec.name);
        topology_.sites.push_back({spec.name,
                                   host_link,
                                   spec.link,
                                   spec.uplink_bytes_per_s,
                                   spec.downlink_bytes_per_s});
        add_devices_of(spec);
    }

    void add_devices_of(const SiteSpec& spec) {
        if (spec.devices.empty()) {
            check_ranks(spec);
            add_devices(spec.name, 0, "", spec.ranks, 0);
            return;
        }
        FUSIONLLM_VALIDATE(spec.ranks == 0,
                           "site '{}' has both ranks and devices; keep the "
                           "devices, their number is that of the ranks",
                           spec.name);
        int first = 0;
        for (const DeviceSpec& devices : spec.devices) {
            FUSIONLLM_VALIDATE(
                devices.count >= 1 && devices.count <= max_ranks,
                "site '{}' has {} devices of kind '{}'; give it 1 to {}, or "
                "leave them out",
                spec.name,
                devices.count,
                devices.kind,
                max_ranks);
            check_host(devices.host, spec.name);
            add_devices(spec.name,
                        find_kind(devices.kind),
                        devices.host,
                        devices.count,
                        first);
            first += devices.count;
        }
    }

    void check_ranks(const SiteSpec& spec) const {
        FUSIONLLM_VALIDATE(spec.ranks >= 1 && spec.ranks <= max_ranks,
                           "site '{}' has {} ranks; it needs at least one, or "
                           "leave it out",
                           spec.name,
                           spec.ranks);
        FUSIONLLM_VALIDATE(
            spec_.kinds.size() <= 1,
            "site '{}' has {} ranks, but of which of the device kinds {}? "
            "Write devices = [{{kind = \"{}\", count = {}}}]",
            spec.name,
            spec.ranks,
            fmt::join(kind_names_, ", "),
            kind_names_.front(),
            spec.ranks);
    }

    void check_host(const std::string& host, const std::string& site) {
        const auto known = site_of_host_.emplace(host, site).first;
        FUSIONLLM_VALIDATE(host.empty() || known->second == site,
                           "host '{}' is at the sites '{}' and '{}'; a host is "
                           "at one place",
                           host,
                           known->second,
                           site);
    }

    std::uint32_t find_kind(const std::string& name) const {
        const auto found = kinds_.find(name);
        FUSIONLLM_VALIDATE(
            found != kinds_.end(),
            "there is no device kind '{}'{}; {}",
            name,
            did_you_mean(name, kind_names_),
            kind_names_.empty()
                ? "describe it in device_kinds or name a file in "
                  "device_files; else there is only cpu"
                : fmt::format("there are {}", fmt::join(kind_names_, ", ")));
        return found->second;
    }

    void add_devices(const std::string& site,
                     std::uint32_t kind,
                     const std::string& host,
                     int count,
                     int first) {
        for (int i = first; i < first + count; ++i) {
            std::string name = fmt::format("{}-{}", site, i);
            devices_.emplace(
                name, static_cast<std::uint32_t>(topology_.devices.size()));
            topology_.devices.push_back({std::move(name), host, site, kind});
        }
    }

    //! A link between "a-1" and another one would be of either.
    void check_apart_from_devices(const std::string& site) const {
        FUSIONLLM_VALIDATE(!devices_.contains(site),
                           "site '{}' has the name of a device of another "
                           "site; rename it",
                           site);
    }

    void check_end(const std::string& name) const {
        if (sites_.contains(name) || devices_.contains(name)) {
            return;
        }
        std::vector<std::string> names;
        for (const auto& known : sites_) {
            names.push_back(known.first);
        }
        for (const auto& known : devices_) {
            names.push_back(known.first);
        }
        throw InputError(fmt::format(
            "a link names '{}', which is neither a site nor a device (such as "
            "'{}'){}",
            name,
            topology_.devices.front().name,
            did_you_mean(name, names)));
    }

    void add_link(const LinkSpec& spec) {
        check_end(spec.from);
        check_end(spec.to);
        check_link(spec.link,
                   fmt::format("the link {} to {}", spec.from, spec.to));
        FUSIONLLM_VALIDATE(
            spec.from != spec.to,
            "a link joins '{0}' with itself; links inside a site are its "
            "'link' and 'host_link'",
            spec.from);
        FUSIONLLM_VALIDATE(
            sites_.contains(spec.from) == sites_.contains(spec.to),
            "a link joins '{}' with '{}', a site with a device; name two "
            "sites or two devices",
            spec.from,
            spec.to);
        FUSIONLLM_VALIDATE(links_.emplace(spec.from, spec.to).second,
                           "the link {} to {} is given twice; keep one",
                           spec.from,
                           spec.to);
        if (sites_.contains(spec.from)) {
            const std::size_t at =
                sites_.at(spec.from) * sites_.size() + sites_.at(spec.to);
            topology_.site_links[at] = spec.link;
        } else {
            topology_.device_links.push_back({DeviceId(devices_.at(spec.from)),
                                              DeviceId(devices_.at(spec.to)),
                                              spec.link});
        }
    }

    const TopologySpec& spec_;
    Topology topology_;
    std::vector<std::string> kind_names_;
    std::map<std::string, std::uint32_t> kinds_;
    std::map<std::string, std::size_t> sites_;
    std::map<std::string, std::uint32_t> devices_;
    std::map<std::string, std::string> site_of_host_;
    std::set<std::pair<std::string, std::string>> links_;
};

}  // namespace

Topology make_topology(const TopologySpec& spec) {
    return TopologyMaker(spec).make();
}

}  // namespace fusionllm
