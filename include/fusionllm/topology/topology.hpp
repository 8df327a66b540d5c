#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "fusionllm/topology/device_kind.hpp"
#include "fusionllm/util/id.hpp"

namespace fusionllm {

using DeviceId = Id<struct Device_>;
using GroupId = Id<struct Group_>;

//! One accelerator or processor; one rank holds it.
struct Device {
    std::string name;        //!< "lyon-0"
    std::string host;        //!< empty if not known
    std::string site;        //!< "lyon"
    std::uint32_t kind = 0;  //!< position in `Topology::kinds`

    friend bool operator==(const Device&, const Device&) = default;
};

/*!
 * One direction between two devices: transfer = latency + bytes / bandwidth,
 * and for messages above `eager_bytes` + `rendezvous_s`, where MPI asks before
 * it sends them.
 */
struct Link {
    double latency_s = 0;
    double bandwidth_bytes_per_s = std::numeric_limits<double>::infinity();
    double eager_bytes = 0;
    double rendezvous_s = 0;
    //! Half of what was measured was as near to this as this share of it; 0 =
    //! not known.
    double within = 0;

    friend bool operator==(const Link&, const Link&) = default;
};

//! Of devices on one host or site, where nothing is said: what processes of one
//! machine get through its memory.
inline constexpr Link default_site_link{20e-6, 5e9};
//! Of two sites, where nothing is said: 10 ms and 1 Gbit/s, as between cities.
inline constexpr Link default_long_link{10e-3, 125e6};

/*!
 * A place. Every pair of its devices has a link of its own: `host_link` if they
 * share a host, else `link`. What leaves the site shares `uplink_bytes_per_s`,
 * what comes in `downlink_bytes_per_s`; 0 = not limited.
 */
struct Site {
    std::string name;
    Link host_link = default_site_link;
    Link link = default_site_link;
    double uplink_bytes_per_s = 0;
    double downlink_bytes_per_s = 0;

    friend bool operator==(const Site&, const Site&) = default;
};

//! A link between two devices that is not as their sites say.
struct DeviceLink {
    DeviceId from;
    DeviceId to;
    Link link;

    friend bool operator==(const DeviceLink&, const DeviceLink&) = default;
};

/*!
 * The devices of a run, in order, and what joins them.
 *
 * `site_links[a * sites.size() + b]` is the link from site a to site b: one
 * line that all pairs of devices of the two sites share. The diagonal is not
 * used. Build one with the functions below; find links with `Network`.
 */
struct Topology {
    std::vector<DeviceKind> kinds;
    std::vector<Device> devices;
    std::vector<Site> sites;
    std::vector<Link> site_links;
    std::vector<DeviceLink> device_links;

    const DeviceKind& kind_of(DeviceId device) const {
        return kinds.at(devices.at(device.get()).kind);
    }
    friend bool operator==(const Topology&, const Topology&) = default;
};

//! Equal devices of a site, on one host if it has a name.
struct DeviceSpec {
    std::string kind;
    int count = 1;
    std::string host = {};

    friend bool operator==(const DeviceSpec&, const DeviceSpec&) = default;
};

/*!
 * A site as the input names it, with either `ranks` devices of the only kind,
 * or the given `devices`. Their names are the site's and a number: "lyon-0".
 */
struct SiteSpec {
    std::string name;
    int ranks = 0;
    std::vector<DeviceSpec> devices = {};
    Link link = default_site_link;
    std::optional<Link> host_link = std::nullopt;  //!< none: as `link`
    double uplink_bytes_per_s = 0;                 //!< 0 = not limited
    double downlink_bytes_per_s = 0;               //!< 0 = not limited

    friend bool operator==(const SiteSpec&, const SiteSpec&) = default;
};

//! The sites with the default kind of device and the default links.
Topology make_topology(const std::vector<SiteSpec>& sites);

//! One site of equal devices, "local".
Topology make_uniform_topology(int num_devices);

/*!
 * The device of each rank. "order": rank r is device r. "host": ranks take,
 * in order, the devices whose host is theirs; hosts without a name in the
 * topology are assigned to sites in the order they first appear.
 *
 * Throws `InputError` when ranks and devices do not match.
 */
enum class Match { order, host };
std::vector<DeviceId> match_ranks(const Topology& topology,
                                  Match match,
                                  const std::vector<std::string>& host_of_rank);

}  // namespace fusionllm
