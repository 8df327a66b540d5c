#pragma once

#include <filesystem>
#include <functional>
#include <vector>

#include "fusionllm/comm/mpi.hpp"
#include "fusionllm/comm/rank_table.hpp"

#include "app/output_folder.hpp"

namespace fusionllm {

//! Told when a rank is at its disk and when it waits for the others there.
using OnActivity = std::function<void(const Activity&)>;

/*!
 * The rank that looks after the disk that a rank sees under a path: of those
 * that see the same disk the lowest, so that rank 0 always looks after its own.
 *
 * Ranks find out by files that they make in `folder` and remove again, with the
 * folders that had to be made for it. Collective; throws `InputError` on all
 * ranks if one cannot write there.
 */
std::vector<int> find_disk_owners(const mpi::Communicator& world,
                                  const std::filesystem::path& folder,
                                  const OnActivity& on_activity);

/*!
 * What rank 0 does on its own disk when it makes the run's folder, on others:
 * checkpoints of an earlier run are deleted if they are to be overwritten, and
 * refused by an `InputError` on all ranks if not. Collective.
 */
void prepare_disks(const mpi::Communicator& world,
                   const std::vector<int>& owner_of_rank,
                   const std::filesystem::path& checkpoints,
                   Existing existing,
                   const OnActivity& on_activity);

/*!
 * Throws `InputError` if ranks of a group, who write one file together, do not
 * see one disk.
 */
void check_group_disks(const std::vector<int>& owner_of_rank,
                       const std::vector<int>& group_of_rank,
                       const std::filesystem::path& folder);

}  // namespace fusionllm
