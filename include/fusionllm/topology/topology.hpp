#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusionllm/util/id.hpp"

namespace fusionllm {

using DeviceId = Id<struct Device_>;
using GroupId = Id<struct Group_>;

//! One accelerator or processor; one rank holds it.
struct Device {
    std::string name;           //!< "lyon-0"
    std::string host;           //!< empty if not known
    std::string site;           //!< "lyon"
    double flops_per_s = 1e11;  //!< peak, fp32
    double memory_bytes = 0;    //!< 0 = not known, no limit

    friend bool operator==(const Device&, const Device&) = default;
};

//! The devices of a run, in order; sites are the device groups for now.
struct Topology {
    std::vector<Device> devices;

    friend bool operator==(const Topology&, const Topology&) = default;
};

//! A site and how many ranks it has, as the input names it.
struct SiteSpec {
    std::string name;
    int ranks = 0;

    friend bool operator==(const SiteSpec&, const SiteSpec&) = default;
};

//! `ranks` equal devices a site, in the given order.
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
