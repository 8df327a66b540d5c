#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "fusionllm/topology/topology.hpp"

namespace fusionllm {

using LineId = Id<struct Line_>;

//! Something that several links may share: a line between two sites, a site's
//! uplink or downlink.
struct Line {
    std::string name;  //!< "lyon-osaka", "uplink of lyon"
    double bandwidth_bytes_per_s = 0;

    friend bool operator==(const Line&, const Line&) = default;
};

//! The lines that a link crosses, in order: a range of at most three, by value.
class LineList {
public:
    void push_back(LineId id) { ids_.at(size_++) = id; }
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    const LineId* begin() const { return ids_.data(); }
    const LineId* end() const { return ids_.data() + size_; }
    LineId operator[](std::size_t i) const { return ids_[i]; }
    friend bool operator==(const LineList&, const LineList&) = default;

private:
    std::array<LineId, 3> ids_{LineId(0), LineId(0), LineId(0)};
    std::size_t size_ = 0;
};

/*!
 * Every directed link of a topology, found in constant time without allocating.
 *
 * Two devices of one site have a link of their own, which crosses no line.
 * Between sites a link crosses the uplink of the one, the line of the two sites
 * and the downlink of the other, where these are limited. A link given for the
 * two devices takes the place of the sites' line, not of up- and downlinks.
 * Memory grows with devices and with the square of the number of sites.
 */
class Network {
public:
    //! Throws `InputError` when sites and links of the topology do not match.
    explicit Network(const Topology& topology);

    std::size_t num_devices() const { return site_of_device_.size(); }
    std::size_t num_sites() const { return sites_.size(); }
    //! Alone on it: the least bandwidth of what it crosses. From a device to
    //! itself: no latency, no limit.
    Link link(DeviceId from, DeviceId to) const;
    //! Between two devices of the device's site, on different hosts.
    const Link& inside(DeviceId device) const {
        return sites_[site_of(device)].link;
    }
    //! What it crosses, in order.
    LineList lines(DeviceId from, DeviceId to) const;
    const Line& line(LineId id) const { return lines_.at(id.get()); }
    std::size_t num_lines() const { return lines_.size(); }
    //! "lyon-osaka" between sites, "lyon-0 to lyon-1" inside one or where the
    //! two devices have a link of their own.
    std::string name(DeviceId from, DeviceId to) const;
    //! Position in `Topology::sites`.
    std::size_t site_of(DeviceId device) const {
        return site_of_device_.at(device.get());
    }

private:
    const Link* find_own_link(DeviceId from, DeviceId to) const;
    std::uint64_t key(DeviceId from, DeviceId to) const;
    void index_devices(const Topology& topology);
    void add_lines(const Topology& topology);
    void add_own_links(const Topology& topology);

    std::vector<Site> sites_;
    std::vector<std::string> device_names_;
    std::vector<std::size_t> site_of_device_;
    std::vector<std::size_t> host_of_device_;  // equal if they share a host
    std::vector<Link> site_links_;             // [a * sites + b]
    std::vector<Line> lines_;
    std::vector<LineId> site_lines_;              // [a * sites + b]
    std::vector<std::optional<LineId>> uplinks_;  // by site; where limited
    std::vector<std::optional<LineId>> downlinks_;
    std::unordered_map<std::uint64_t, Link> own_links_;  // by `key`
};

//! From the last byte sent to the last one received of a message: latency, and
//! what asking for it takes. Others may be sent in this time.
inline double latency_s(const Link& link, double bytes) {
    return bytes > link.eager_bytes ? link.latency_s + link.rendezvous_s
                                    : link.latency_s;
}

/*!
 * Seconds from the first byte sent to the last one received, alone on the link:
 * latency + bytes / bandwidth.
 */
double transfer_s(const Link& link, double bytes);

}  // namespace fusionllm
