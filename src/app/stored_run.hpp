#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace fusionllm {

//! A step-N folder itself, or the newest one of a run's output folder. Throws
//! `InputError` if there is none.
std::filesystem::path find_checkpoint(const std::filesystem::path& given);

//! Losses over the validation data, as a run's metrics have them.
struct StoredLosses {
    std::int64_t step = 0;
    std::optional<double> with_codecs;
    std::optional<double> without_codecs;
};

//! The last ones up to `step`, beside the folder of the checkpoint.
std::optional<StoredLosses> find_losses(const std::filesystem::path& checkpoint,
                                        std::int64_t step);

}  // namespace fusionllm
