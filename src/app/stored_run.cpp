#include "app/stored_run.hpp"

#include <fstream>
#include <string>

#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/util/error.hpp"

#include "app/json_text.hpp"

namespace fusionllm {

std::filesystem::path find_checkpoint(const std::filesystem::path& given) {
    FUSIONLLM_VALIDATE(std::filesystem::is_directory(given),
                       "there is no folder '{}'; give a checkpoint "
                       "(OUTPUT/checkpoints/step-N) or a run's output folder",
                       given.string());
    if (std::filesystem::exists(given / "manifest.json")) {
        return given;
    }
    const auto latest = find_latest_checkpoint(given / "checkpoints");
    FUSIONLLM_VALIDATE(latest.has_value(),
                       "'{}' holds no complete checkpoint; give a folder "
                       "OUTPUT/checkpoints/step-N",
                       given.string());
    return *latest;
}

std::optional<StoredLosses> find_losses(const std::filesystem::path& checkpoint,
                                        std::int64_t step) {
    std::ifstream metrics(std::filesystem::absolute(checkpoint) / ".." / ".." /
                          "metrics.jsonl");
    std::optional<StoredLosses> last;
    for (std::string line; std::getline(metrics, line);) {
        const auto losses = losses_of_metrics(line);
        if (losses && losses->step <= step) {
            last = losses;
        }
    }
    return last;
}

}  // namespace fusionllm
