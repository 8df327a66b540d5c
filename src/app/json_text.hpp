#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fusionllm/plan/stage_report.hpp"
#include "fusionllm/runtime/trainer.hpp"

namespace fusionllm {

//! One line of JSON: numbers with all their digits, a non-finite one null.
std::string to_json(const StepMetrics& metrics);

//! "step" of such a line; none for a line that was cut short.
std::optional<std::int64_t> step_of_metrics(const std::string& line);

//! What `fusionllm plan --json` prints.
std::string to_json(const Plan& plan, const std::vector<StageReport>& stages);

//! Several texts as one, and back.
std::string pack_texts(const std::vector<std::string>& texts);
std::vector<std::string> unpack_texts(const std::string& packed);

}  // namespace fusionllm
