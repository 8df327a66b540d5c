#pragma once

#include <string>
#include <utility>
#include <vector>

#include "fusionllm/comm/probe.hpp"
#include "fusionllm/topology/topology.hpp"
#include "fusionllm/topology/topology_spec.hpp"

#include "app/run_input.hpp"

namespace fusionllm {

//! Where the ranks of a probe are.
struct ProbeSites {
    TopologySpec spec;  //!< with what is known, sites at least
    std::vector<DeviceId> device_of_rank;
    std::vector<int> site_of_rank;  //!< position in `spec.sites`
    std::vector<std::string> hosts;
};

/*!
 * The sites of the input; if it names none, every host is one, in the order of
 * ranks, with a number behind its name where a device of it would be called as
 * another host. Throws `InputError` where ranks and sites do not match.
 */
ProbeSites make_probe_sites(const RunInput& input,
                            const std::vector<std::string>& hosts);

/*!
 * Pairs of ranks that measure at the same time, round by round: first every
 * two sites by their first ranks, no site twice in a round; then inside the
 * sites, one after another, two ranks of one host and two of different hosts.
 */
std::vector<std::vector<std::pair<int, int>>> make_probe_rounds(
    const ProbeSites& sites);

//! As far as it is to be believed: to three digits.
Link link_of(const MeasuredLink& link);

//! The sites' topology with the links that were measured. Of links inside a
//! site the worse direction counts for both; only they have a rendezvous.
TopologySpec with_measured_links(const ProbeSites& sites,
                                 const std::vector<MeasuredLink>& links);

//! A topology file.
std::string probed_topology_text(const ProbeSites& sites,
                                 const std::vector<MeasuredLink>& links);

}  // namespace fusionllm
