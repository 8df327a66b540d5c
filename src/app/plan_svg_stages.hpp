#pragma once

#include "app/plan_report.hpp"
#include "app/plan_svg_layout.hpp"

namespace fusionllm {

// The pipeline itself; what is drawn later lies above.

void draw_groups(SvgWriter& svg, const PlanLayout& layout, const Plan& plan);
void draw_links(SvgWriter& svg,
                const PlanLayout& layout,
                const std::vector<StageReport>& stages);
void draw_stages(SvgWriter& svg,
                 const PlanLayout& layout,
                 const std::vector<StageReport>& stages,
                 const std::vector<std::string>& kinds);

//! "BOTTLENECK", so that it is found without colours too.
void draw_tag(SvgWriter& svg, SvgPoint middle);

}  // namespace fusionllm
