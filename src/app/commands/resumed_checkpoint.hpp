#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fusionllm/comm/mpi.hpp"
#include "fusionllm/io/checkpoint.hpp"

namespace fusionllm {

/*!
 * A checkpoint whose files may lie on several disks. What a rank needs and its
 * own disk does not have, a rank sends whose disk has it: after the plan
 * changed, or the bases of fences, which are on the disk of who made them.
 */
class ResumedCheckpoint {
public:
    /*!
     * Collective. Throws `InputError` on all ranks if no disk has a file that
     * somebody needs.
     *
     * \param folder "step-N", on every disk; the manifest is rank 0's
     * \param needed the tensors that this rank needs, as far as there are any
     */
    ResumedCheckpoint(const mpi::Communicator& world,
                      const std::vector<int>& group_of_rank,
                      std::filesystem::path folder,
                      const std::vector<std::string>& needed);

    const CheckpointManifest& manifest() const { return manifest_; }
    //! A tensor that was needed; nothing if the checkpoint has none.
    std::optional<HostTensor> load(const std::string& name) const;
    //! Throws `InputError` unless it was made with data of this hash.
    void check_data(std::uint64_t hash) const;
    //! Close all files; then nothing can be loaded any more.
    void close();

private:
    struct Transfer {
        std::string tensor;
        int from = 0;
        int to = 0;
    };

    std::vector<Transfer> find_transfers(
        const mpi::Communicator& world,
        const std::vector<std::string>& missing) const;
    void make(const std::vector<Transfer>& transfers,
              const mpi::Communicator& world,
              const std::vector<int>& group_of_rank);

    std::filesystem::path folder_;
    CheckpointManifest manifest_;
    std::unique_ptr<CheckpointReader> reader_;  // none: nothing of it is here
    std::map<std::string, HostTensor> received_;
};

}  // namespace fusionllm
