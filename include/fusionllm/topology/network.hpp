#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
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

/*!
 * Every directed link of a topology, found in constant time.
 *
 * Two devices of one site have a link of their own, which crosses no line.
 * Between sites a link crosses the line of the two sites, the uplink of the
 * one and the downlink of the other where these are limited. A link given for
 * the two devices takes the place of the sites' line, not of up- and downlinks.
 */
class Network {
public:
    explicit Network(const Topology& topology);

    std::size_t num_devices() const { return site_of_device_.size(); }
    //! Alone on it: the least bandwidth of what it crosses. From a device to
    //! itself: no latency, no limit.
    Link link(DeviceId from, DeviceId to) const;
    //! What it crosses, in order.
    std::vector<LineId> lines(DeviceId from, DeviceId to) const;
    const Line& line(LineId id) const { return lines_.at(id.get()); }
    std::size_t num_lines() const { return lines_.size(); }
    //! "lyon-osaka" between sites, "lyon-0 to lyon-1" inside one.
    std::string name(DeviceId from, DeviceId to) const;
    //! Position in `Topology::sites`.
    std::size_t site_of(DeviceId device) const {
        return site_of_device_.at(device.get());
    }

private:
    Topology topology_;
    std::vector<std::size_t> site_of_device_;
    std::vector<std::size_t> host_of_device_;  // equal if they share a host
    std::vector<Line> lines_;
    std::vector<LineId> site_lines_;  // [a * sites + b]
    std::vector<LineId> uplinks_;     // by site; only where limited
    std::vector<LineId> downlinks_;
    std::map<std::pair<DeviceId, DeviceId>, Link> device_links_;
};

/*!
 * Seconds from the first byte sent to the last one received, alone on the link:
 * latency + bytes / bandwidth.
 */
double transfer_s(const Link& link, double bytes);

}  // namespace fusionllm
