#pragma once

#include <vector>

#include "fusionllm/topology/network.hpp"

namespace fusionllm {

//! Devices joined by fast links, ascending.
using DeviceSet = std::vector<DeviceId>;

/*!
 * Cluster the devices by bandwidth (algorithms.md, section 2, steps 1 and 2).
 *
 * Louvain's method (Blondel et al., 2008) on the complete graph whose weights
 * are the harmonic means of the two directed bandwidths, visiting devices in
 * order, so the same topology always has the same groups. A community is split
 * again while Louvain finds several in it and the median bandwidth between
 * these is under half of that inside. (One pass merges two 1 Gbit/s sites
 * joined by 100 Mbit/s when a 10 Gbit/s site is present: the resolution limit
 * of modularity.) Groups come in the order of their first devices.
 *
 * Ours: modularity never sets a single device apart, however slow its links.
 * So every device is also joined to itself by the bandwidth inside its site,
 * and what Louvain leaves whole is cut at the weakest link of its maximum
 * spanning tree if that meets the same threshold.
 */
std::vector<DeviceSet> find_device_groups(const Network& network);

}  // namespace fusionllm
