#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusionllm/comm/shaped_links.hpp"
#include "fusionllm/topology/network.hpp"

namespace fusionllm {

//! How the links of a testbed are played on this machine.
struct ShapeOptions {
    double time_scale = 1;  //!< all times of the testbed are so much longer
    double jitter_s = 0;    //!< of the testbed: messages come up to this later
    //! Of lines, in the testbed's time since the start:
    //! "lyon-osaka x0.1 at 30 s", "uplink of lyon x0 at 30 s for 5 s".
    std::vector<std::string> changes;
    std::uint64_t seed = 1;
};

/*!
 * The links between the ranks of a run, as this machine's clock shall show
 * them. A change of "lyon-osaka" is one of both directions.
 *
 * Throws `InputError` for a change that makes no sense: which, and what lines
 * there are.
 */
ShapedLinks make_shaped_links(const Network& network,
                              const std::vector<DeviceId>& device_of_rank,
                              const ShapeOptions& options);

}  // namespace fusionllm
