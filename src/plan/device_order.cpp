#include "fusionllm/plan/device_order.hpp"

#include <limits>
#include <optional>

#include "open_path.hpp"

namespace fusionllm {
namespace {

//! The pair of devices, one a group, with the fastest link both ways.
struct Gateway {
    std::size_t from = 0;  // position in the first group
    std::size_t to = 0;    // position in the second group
    double seconds = std::numeric_limits<double>::infinity();
};

double round_trip_s(const Network& network,
                    DeviceId a,
                    DeviceId b,
                    double bytes) {
    return transfer_s(network.link(a, b), bytes) +
           transfer_s(network.link(b, a), bytes);
}

//! `taken`: a position in `from` that cannot be the gateway, unless it is
//! alone.
Gateway find_gateway(const DeviceSet& from,
                     const DeviceSet& to,
                     std::optional<std::size_t> taken,
                     const Network& network,
                     double bytes) {
    Gateway best;
    for (std::size_t a = 0; a < from.size(); ++a) {
        if (taken == a && from.size() > 1) {
            continue;
        }
        for (std::size_t b = 0; b < to.size(); ++b) {
            const double seconds = round_trip_s(network, from[a], to[b], bytes);
            if (seconds < best.seconds) {
                best = {a, b, seconds};
            }
        }
    }
    return best;
}

}  // namespace

std::vector<DeviceId> order_devices(const std::vector<DeviceSet>& groups,
                                    const Network& network,
                                    double message_bytes) {
    std::vector<double> between(groups.size() * groups.size());
    for (std::size_t a = 0; a < groups.size(); ++a) {
        for (std::size_t b = a + 1; b < groups.size(); ++b) {
            const double seconds =
                find_gateway(
                    groups[a], groups[b], std::nullopt, network, message_bytes)
                    .seconds;
            between[a * groups.size() + b] = seconds;
            between[b * groups.size() + a] = seconds;
        }
    }
    const auto path =
        detail::find_open_path(groups.size(),
                               [&](std::size_t a, std::size_t b) {
                                   return between[a * groups.size() + b];
                               },
                               {});
    std::vector<DeviceId> order;
    std::optional<std::size_t> entry;
    for (std::size_t p = 0; p < path.size(); ++p) {
        const DeviceSet& group = groups[path[p]];
        detail::PathEnds ends{entry, std::nullopt};
        entry.reset();
        if (p + 1 < path.size()) {
            const Gateway gateway = find_gateway(
                group, groups[path[p + 1]], ends.first, network, message_bytes);
            if (group.size() > 1) {
                ends.last = gateway.from;
            }
            entry = gateway.to;
        }
        const auto inside = detail::find_open_path(
            group.size(),
            [&](std::size_t a, std::size_t b) {
                return round_trip_s(network, group[a], group[b], message_bytes);
            },
            ends);
        for (const std::size_t position : inside) {
            order.push_back(group[position]);
        }
    }
    return order;
}

}  // namespace fusionllm
