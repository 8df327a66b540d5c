#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <mpi.h>

#include "fusionllm/io/tensor_entry.hpp"

namespace fusionllm {

/*
 * A checkpoint is a folder: manifest.json and one HDF5 file a device group,
 * written in parallel by the ranks of the group. Tensors are datasets under
 * their names: "/parameters/wte.weight", "/optimizer/wte.weight/exp_avg".
 *
 * It is written into "step-N.partial", fsynced and renamed to "step-N", so a
 * folder named step-N is always complete.
 */

//! What a checkpoint is of, besides its tensors.
struct CheckpointManifest {
    std::uint64_t step = 0;  //!< updates done
    std::uint64_t seed = 0;
    std::uint64_t graph_hash = 0;
    std::uint64_t data_hash = 0;
    std::uint64_t samples = 0;  //!< data position: samples consumed
    //! Micro-batches of the updates that were made, none of skipped steps.
    std::uint64_t micro_batches = 0;
    //! Drawn anew for each checkpoint: by it sites that keep disks of their own
    //! know which parts belong together. 0 in checkpoints of before.
    std::uint64_t save_id = 0;
    std::string optimizer;
    std::string plan;   //!< text form
    std::string input;  //!< resolved TOML
    std::map<std::string, std::string> versions;
    //! Dataset name to the file (relative to the folder) that holds it.
    std::map<std::string, std::string> tensors;

    friend bool operator==(const CheckpointManifest&,
                           const CheckpointManifest&) = default;
};

std::string to_json(const CheckpointManifest& manifest);
//! Throws `InputError` naming the file.
CheckpointManifest parse_manifest(const std::string& json,
                                  const std::filesystem::path& file);

//! The manifest of a folder; throws `InputError` if that is not a complete
//! checkpoint.
CheckpointManifest load_manifest(const std::filesystem::path& folder);

//! The tensor's bytes, from the one rank of the group that holds it.
struct TensorData {
    std::string name;
    std::span<const std::byte> bytes;
};

//! What a rank is at while a group writes a file.
enum class WritePart {
    own,    //!< does something itself
    agree,  //!< waits for the others
};

//! The ranks that write one file.
struct WriteGroup {
    MPI_Comm communicator = MPI_COMM_NULL;
    //! Called at each change; may be empty.
    std::function<void(WritePart)> on_part;
};

/*!
 * Write one group's file: collective over `group`. Every rank gives the same
 * `entries` and, in `mine`, the bytes of those it holds. The file is flushed
 * and fsynced. Throws `Error` (no space, no permission) on every rank.
 */
void write_tensors(const std::filesystem::path& file,
                   const WriteGroup& group,
                   const std::vector<TensorEntry>& entries,
                   const std::vector<TensorData>& mine);

//! Reads a complete checkpoint, by one rank alone, tensor by tensor.
class CheckpointReader {
public:
    //! Throws `InputError` if the folder is not a complete checkpoint.
    explicit CheckpointReader(std::filesystem::path folder);
    //! Of files that are in the folder; others may be on another disk.
    CheckpointReader(std::filesystem::path folder, CheckpointManifest manifest);
    ~CheckpointReader();
    CheckpointReader(const CheckpointReader&) = delete;
    CheckpointReader& operator=(const CheckpointReader&) = delete;

    const CheckpointManifest& manifest() const { return manifest_; }
    bool has(const std::string& name) const;
    //! Whether the file that has it is here.
    bool can_read(const std::string& name) const;
    //! Throws `InputError` naming the tensor and the file it should be in.
    HostTensor read(const std::string& name) const;

private:
    std::filesystem::path folder_;
    CheckpointManifest manifest_;
    struct Files;
    std::unique_ptr<Files> files_;
};

/*
 * Folder work, by the one rank that owns the disk: before and after
 * `write_tensors`.
 */

//! checkpoints/step-N.partial, made empty.
std::filesystem::path begin_checkpoint(const std::filesystem::path& checkpoints,
                                       std::uint64_t step);
//! Write the manifest and fsync all of step-N.partial.
void seal_checkpoint(const std::filesystem::path& checkpoints,
                     const CheckpointManifest& manifest);
//! Rename what is sealed to step-N; an old one is replaced.
std::filesystem::path commit_checkpoint(
    const std::filesystem::path& checkpoints, std::uint64_t step);
/*!
 * Delete partial checkpoints, and of the complete ones up to `step` all but the
 * newest `keep`; one of a later step is of another run, and left alone.
 */
void prune_checkpoints(const std::filesystem::path& checkpoints,
                       std::uint64_t step,
                       std::size_t keep);
//! The complete checkpoint with the largest step, if there is one.
std::optional<std::filesystem::path> find_latest_checkpoint(
    const std::filesystem::path& checkpoints);

}  // namespace fusionllm
