#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "fusionllm/plan/codec_error.hpp"
#include "fusionllm/plan/compression.hpp"
#include "fusionllm/plan/fence_rule.hpp"
#include "fusionllm/runtime/step_measurements.hpp"
#include "fusionllm/runtime/trainer.hpp"

#include "app/fence_change.hpp"
#include "app/job.hpp"
#include "app/link_memory.hpp"

namespace fusionllm {

//! The lines of such a file, but one that was cut short. Throws `InputError`
//! naming file and line.
std::vector<FenceChange> load_fence_changes(const std::filesystem::path& file);
//! The last change at or before a step, if there is one.
std::optional<FenceChange> find_change(const std::vector<FenceChange>& changes,
                                       std::int64_t step);

//! The number of the last change in a file that need not be there; 0: none.
std::int64_t last_version(const std::filesystem::path& file);
//! What a run with `adapt = "replay"` changes at this step, and no other.
std::optional<FenceChange> find_replayed_change(
    const CompressionOptions& options, std::int64_t step);

//! What an adapting run measures beside what it uses: codecs of every kind,
//! from which the errors of the others follow (`ErrorTable`).
std::vector<CodecChoice> probed_codecs(const CompressionOptions& options);

//! Dense fences where the plan has none: an adapting run measures there, too.
std::vector<Fence> with_dense_fences(std::vector<Fence> fences,
                                     const OpGraph& graph,
                                     const Placement& placement);

//! Whose links a run adapts to: the topology's, or those it meets.
enum class ClockKind { emulated, real };

//! Lets the codecs follow what is measured, `adapt = "on"`; what is near enough
//! stays (`FenceRule::choose_again`).
class Adaptation {
public:
    //! Keeps a reference to the job.
    Adaptation(const Job& job,
               const CompressionOptions& options,
               ClockKind clock);

    //! The new fences, if they are others; only after steps in which errors
    //! were measured, or when a link turns out far slower than it was chosen
    //! by. Rates of links count for runs that are not emulated.
    std::optional<std::vector<Fence>> decide(const std::vector<Fence>& current,
                                             const StepMeasurements& measured);

private:
    void take_errors(const std::vector<MeasuredError>& errors);
    void take_rates(const StepMeasurements& measured);
    bool is_any_link_far_slower() const;
    MeasuredStep begin_choice();

    const Job& job_;
    CompressionOptions options_;
    ClockKind clock_;
    ErrorTable errors_;
    //! By stage but the last: to the next one, and back.
    std::vector<LinkMemory> forward_;
    std::vector<LinkMemory> backward_;
};

//! What a trainer asks after each step on rank 0; empty if nothing adapts.
std::function<std::optional<std::vector<Fence>>(const StepMeasurements&)>
make_adapt_hook(const Job& job, const RunInput& input);

//! How `evaluate` in [compression] wants it; without fences there is one way.
EvaluationCodecs evaluation_codecs(const Job& job, const RunInput& input);

}  // namespace fusionllm
