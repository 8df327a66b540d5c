#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fusionllm/comm/mpi.hpp"
#include "fusionllm/topology/topology_spec.hpp"

#include "app/run_input.hpp"

namespace fusionllm {

/*!
 * The topology that `[topology] probe = true` asks for, on rank 0; nothing on
 * the others, and if the input does not ask or cannot be read. Collective.
 *
 * \param load called on rank 0
 */
std::optional<TopologySpec> probe_topology(
    const mpi::Communicator& world,
    const std::vector<std::string>& hosts,
    const std::function<RunInput()>& load);

}  // namespace fusionllm
