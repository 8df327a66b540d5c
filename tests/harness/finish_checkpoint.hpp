#pragma once

#include <filesystem>

#include "fusionllm/io/checkpoint.hpp"

namespace fusionllm::test {

//! What the one rank of a run that owns all of its disks does in the end.
inline std::filesystem::path finish_checkpoint(
    const std::filesystem::path& checkpoints,
    const CheckpointManifest& manifest) {
    seal_checkpoint(checkpoints, manifest);
    return commit_checkpoint(checkpoints, manifest.step);
}

}  // namespace fusionllm::test
