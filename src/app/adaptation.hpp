#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <vector>

#include "fusionllm/plan/codec_error.hpp"
#include "fusionllm/plan/compression.hpp"

#include "app/fence_change.hpp"
#include "app/job.hpp"

namespace fusionllm {

//! The lines of such a file, but one that was cut short. Throws `InputError`
//! naming file and line.
std::vector<FenceChange> load_fence_changes(const std::filesystem::path& file);
//! The last change at or before a step, if there is one.
std::optional<FenceChange> find_change(const std::vector<FenceChange>& changes,
                                       std::int64_t step);

//! What an adapting run measures beside what it uses: codecs of every kind,
//! from which the errors of the others follow (`ErrorTable`).
std::vector<CodecChoice> probed_codecs(const CompressionOptions& options);

//! Dense fences where the plan has none: an adapting run measures there, too.
std::vector<Fence> with_dense_fences(std::vector<Fence> fences,
                                     const OpGraph& graph,
                                     const Placement& placement);

/*!
 * Lets the codecs follow what is measured: `adapt = "on"`.
 *
 * Fences change when the rule, with the errors measured so far, promises a step
 * that is shorter by a twentieth, or errors that are smaller by a fifth and a
 * step that is no longer than a fiftieth more. What is nearer stays, so that
 * noise changes nothing.
 */
class Adaptation {
public:
    //! Keeps a reference to the job.
    Adaptation(const Job& job, const CompressionOptions& options);

    //! The new fences, if it is worth it.
    std::optional<std::vector<Fence>> decide(
        const std::vector<Fence>& current,
        const std::vector<MeasuredError>& errors);

private:
    double error_of(const std::vector<Fence>& fences) const;

    const Job& job_;
    CompressionOptions options_;
    ErrorTable errors_;
};

}  // namespace fusionllm
