#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fusionllm/plan/stage_report.hpp"
#include "fusionllm/sim/bottleneck.hpp"
#include "fusionllm/sim/step_parts.hpp"

#include "app/job.hpp"
#include "app/plan_fences.hpp"

namespace fusionllm {

//! What `plan` and `simulate` tell of a planned step.
struct PlanReport {
    std::vector<StageReport> stages;
    StepParts parts;
    Bottleneck bottleneck;
    std::optional<Bottleneck> busiest_link;
    double bubble = 0;  //!< share of all stages' time without computing
    double samples_per_s = 0;
    std::vector<std::string> ops_by_bytes;  //!< targets without a cost row
    std::vector<std::string> unused;        //!< devices without a stage
    std::vector<PlannedFence> fences;
    //! Steps to the same loss that errors of the fences are taken to cost, over
    //! those of dense: `error_price` times the squares of typical errors.
    double more_steps = 0;
    std::string note;  //!< on the fences; may be empty
    //! That carry messages and were measured badly: "a-b within 31%".
    std::vector<std::string> unsure_links;
};

PlanReport make_plan_report(const RunInput& input,
                            const Job& job,
                            const PlannedStep& step);

//! Name of the device of every stage.
std::vector<std::string> stage_device_names(const Plan& plan,
                                            const Topology& topology);

//! Groups, order, the stage table, the predicted step and its bottleneck, for
//! people; a line may be long.
std::string to_text(const PlanReport& report, const Job& job, const Plan& plan);

//! The step time with its parts, bubble and bottleneck.
std::string describe_step(const PlanReport& report);

//! What `simulate` prints: every stage and link over the step, then its parts.
std::string describe_timeline(const PlanReport& report,
                              const Job& job,
                              const PlannedStep& step);

/*!
 * One change of the input that promises a shorter step, as it can be typed, or
 * that none of those tried does. Plans anew for each, which takes as long as
 * planning did.
 */
std::string advise(const RunInput& input,
                   const ModelSource& source,
                   std::optional<int> num_ranks,
                   double step_s);

//! What compression would do to the step of an input without it, in the same
//! way; "" if that is little.
std::string advise_compression(const RunInput& input,
                               const ModelSource& source,
                               std::optional<int> num_ranks,
                               double step_s);

}  // namespace fusionllm
