#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fusionllm/runtime/trainer.hpp"

#include "app/fence_change.hpp"
#include "app/fence_table.hpp"
#include "app/plan_report.hpp"
#include "app/stored_run.hpp"

namespace fusionllm {

//! One line of JSON: numbers with all their digits, a non-finite one null.
//! \param fences of this step, may be empty
std::string to_json(const StepMetrics& metrics,
                    const std::vector<FenceLine>& fences,
                    std::optional<double> shaped_step_s);

//! One object a line, in a JSON array.
std::string to_json(const std::vector<FenceLine>& lines);

//! One line of fences.jsonl, and back; throws if it is none.
std::string to_json(const FenceChange& change);
FenceChange parse_fence_change(const std::string& line);

//! "step" of such a line; none for a line that was cut short.
std::optional<std::int64_t> step_of_metrics(const std::string& line);

//! "emulated_s" of such a line; none if it has none.
std::optional<double> emulated_s_of_metrics(const std::string& line);

//! What `fusionllm plan --json` prints; seconds and bytes.
std::string to_json(const PlannedStep& step, const PlanReport& report);

//! Step and validation losses of such a line; none if it has none.
std::optional<StoredLosses> losses_of_metrics(const std::string& line);

//! Several texts as one, and back.
std::string pack_texts(const std::vector<std::string>& texts);
std::vector<std::string> unpack_texts(const std::string& packed);

}  // namespace fusionllm
