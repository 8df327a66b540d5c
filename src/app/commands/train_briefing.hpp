#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fusionllm/comm/mpi.hpp"
#include "fusionllm/comm/rank_table.hpp"
#include "fusionllm/comm/shaped_links.hpp"
#include "fusionllm/runtime/shaping.hpp"
#include "fusionllm/runtime/stage_waits.hpp"

#include "app/commands/commands.hpp"
#include "app/commands/rank_talk.hpp"
#include "app/job.hpp"

namespace fusionllm {

//! What rank 0 finds out before any work, for all ranks.
struct Briefing {
    std::string problem;  //!< not empty: all end with `status`
    int status = 0;
    std::string input;       //!< resolved TOML
    std::string plan;        //!< text form
    std::string checkpoint;  //!< folder to resume from, or empty
    std::string job_id;
    std::string model;  //!< text form of the `ModelSource`
};

//! Of each rank; collective.
std::vector<ProgramVersions> gather_versions(const mpi::Communicator& world);

//! "" if programs of these versions can work together.
std::string find_version_problem(const std::vector<ProgramVersions>& versions);

/*!
 * Rank 0's briefing, after it has asked the other ranks what they can run.
 * Everything that can be wrong with the input is found, but for the data, which
 * other ranks may read; nothing is written. Collective.
 *
 * \param hosts, versions those of each rank
 * \param table told when links are measured
 */
Briefing exchange_briefing(const mpi::Communicator& world,
                           const TrainArguments& arguments,
                           const std::vector<std::string>& hosts,
                           const std::vector<ProgramVersions>& versions,
                           RankTable& table);

//! The device of each rank.
std::vector<DeviceId> match_devices(const RunInput& input,
                                    const Topology& topology,
                                    const std::vector<std::string>& hosts);

//! How the input plays the links of its testbed; throws `InputError`.
ShapeOptions shape_options_of(const RunInput& input);

//! The links of the input's testbed between these ranks; throws `InputError`.
ShapedLinks make_shaped_links(const RunInput& input,
                              const Job& job,
                              const std::vector<DeviceId>& device_of_rank);

/*!
 * The time of the devices of the input's topology, if ranks shall take it.
 * Keeps a reference to the job.
 */
std::optional<StageWaits> make_stage_waits(const RunInput& input,
                                           const Job& job);

}  // namespace fusionllm
