#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "fusionllm/comm/mpi.hpp"
#include "fusionllm/exec/optimizer_options.hpp"
#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/plan/plan.hpp"
#include "fusionllm/runtime/checkpoint_tensors.hpp"
#include "fusionllm/runtime/trainer.hpp"

namespace fusionllm {

//! Where checkpoints go and what they are of.
struct CheckpointerSetup {
    const OpGraph& graph;
    const Plan& plan;
    const mpi::Communicator& group;  //!< of this rank
    int group_index = 0;             //!< position in `plan.groups`
    std::filesystem::path folder;    //!< ".../checkpoints"
    //! Whether this rank makes and renames folders on the disk that it sees.
    bool owns_disk = false;
    std::size_t keep = 2;
    OptimizerOptions optimizer;
    //! Told when this rank writes its part, and when it waits for the others.
    std::function<void(const Activity&)> on_activity;
    //! Told what went wrong without costing a checkpoint.
    std::function<void(const std::string&)> on_warning;
};

/*!
 * Writes a run's checkpoints: one HDF5 file a device group, in parallel, and
 * one manifest a disk.
 *
 * Sites need not share a disk: of the ranks that see one, one owns it
 * (`owns_disk`). Owners seal their parts, then all rename theirs, then delete
 * older ones, so that at any time some checkpoint is complete on all disks, but
 * for the moment of the renames.
 */
class Checkpointer {
public:
    Checkpointer(Transport& transport, CheckpointerSetup setup);

    /*!
     * Collective over all ranks: write the checkpoint `manifest.step` of the
     * tensors that each rank owns, of the fences there are now, too. Throws
     * `Error` on all ranks if one fails; older checkpoints are then untouched.
     */
    void save(CheckpointManifest manifest,
              const std::vector<Fence>& fences,
              const std::vector<NamedTensor>& mine);

private:
    void add(const CheckpointTensor& tensor);
    //! Of the root, for manifests on all disks.
    void share(CheckpointManifest& manifest);
    //! By owners of disks; then all throw if one failed.
    void on_disks(const std::function<void()>& action);
    void prune(std::uint64_t step);
    void throw_if_any(const std::string& problem);
    void say(Phase phase) const;

    Transport& transport_;
    CheckpointerSetup setup_;
    std::uint32_t step_ = 0;
    std::vector<TensorEntry> entries_;          // of this group, this time
    std::map<std::string, std::string> files_;  // tensor to file, of all
};

}  // namespace fusionllm
