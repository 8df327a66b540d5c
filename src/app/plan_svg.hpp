#pragma once

#include <string>

#include "app/plan_report.hpp"

namespace fusionllm {

/*!
 * A picture of the plan for people, as a self-contained SVG: the pipeline in
 * its order, stages as bars in the boxes of their device groups, the links
 * between them, the bottleneck and the parts of the step. Legible in black and
 * white. The same plan always gives the same text.
 */
std::string to_svg(const PlanReport& report, const Job& job, const Plan& plan);

}  // namespace fusionllm
