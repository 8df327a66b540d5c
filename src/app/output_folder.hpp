#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "fusionllm/runtime/trainer.hpp"

namespace fusionllm {

//! What to do with an output folder that holds something.
enum class Existing { refuse, resume, overwrite };

/*!
 * The folder of a run: input.toml, plan.txt, metrics.jsonl, checkpoints/.
 *
 * By rank 0 alone.
 */
class OutputFolder {
public:
    /*!
     * Throws `InputError` if the folder holds something and `existing` is
     * refuse, or if it cannot be written. Nothing is deleted yet.
     */
    OutputFolder(std::filesystem::path folder, Existing existing);

    //! The checkpoint to resume from; none to start anew.
    std::optional<std::filesystem::path> checkpoint_to_resume() const;

    /*!
     * Make the folder ready: with overwrite, remove what an earlier run left
     * (its own names only); with resume, drop the metrics after `step`.
     */
    void prepare(std::int64_t step,
                 const std::string& input,
                 const std::string& plan);

    //! The emulated clock after `step`, as metrics.jsonl has it; 0 if the run
    //! was not emulated.
    double emulated_s_after(std::int64_t step) const;

    //! Add a line to metrics.jsonl, at once on disk for readers.
    void write_metrics(const std::string& line);
    //! Add a line to `fences_file()`: the codecs from a step on.
    void write_fences(const std::string& line);

    std::filesystem::path fences_file() const {
        return folder_ / "fences.jsonl";
    }
    std::filesystem::path checkpoints() const {
        return folder_ / "checkpoints";
    }

private:
    std::filesystem::path metrics_file() const {
        return folder_ / "metrics.jsonl";
    }
    static void drop_lines_after(const std::filesystem::path& path,
                                 std::int64_t step);
    static void add_line(const std::filesystem::path& path,
                         const std::string& line);

    std::filesystem::path folder_;
    Existing existing_;
};

}  // namespace fusionllm
