#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fusionllm/comm/mpi.hpp"
#include "fusionllm/comm/rank_table.hpp"
#include "fusionllm/topology/topology_spec.hpp"

#include "app/run_input.hpp"

namespace fusionllm {

//! What a run finds out of its links before it plans.
struct ProbedTopology {
    std::string problem;  //!< not empty: all end with `status`
    int status = 0;
    std::optional<TopologySpec> spec;  //!< rank 0 only, if it was measured
};

/*!
 * The topology that `[topology] probe = true` asks for; one rank has no links
 * to measure. What is wrong is known to all ranks. Collective.
 *
 * While links are measured a rank is in `Phase::probe`, before and after that
 * the others in `Phase::agreement` for rank 0.
 *
 * \param load called on rank 0
 * \param on_activity told of each change
 */
ProbedTopology probe_topology(
    const mpi::Communicator& world,
    const std::vector<std::string>& hosts,
    const std::function<RunInput()>& load,
    const std::function<void(const Activity&)>& on_activity);

}  // namespace fusionllm
