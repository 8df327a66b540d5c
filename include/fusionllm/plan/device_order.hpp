#pragma once

#include <vector>

#include "fusionllm/plan/device_groups.hpp"

namespace fusionllm {

/*!
 * Line the devices up so that a pipeline along them has fast links (algorithms.
 * md, section 2, steps 3 and 4): groups as an open path of least total transfer
 * time, then the devices of each group as an open path whose ends are the
 * gateways, the pairs of devices with the fastest link to the groups before and
 * after.
 *
 * \param message_bytes what goes over a link, each way, when paths are compared
 *
 * Exact for up to 8 groups, else nearest neighbour and 2-opt; devices by
 * nearest neighbour and 2-opt. Deterministic; O(D^2) a 2-opt pass.
 */
std::vector<DeviceId> order_devices(const std::vector<DeviceSet>& groups,
                                    const Network& network,
                                    double message_bytes);

}  // namespace fusionllm
