#include "app/plan_svg.hpp"

namespace fusionllm {

std::string to_svg(const PlanReport& report, const Job& job, const Plan& plan) {
    return "<svg xmlns=\"http://www.w3.org/2000/svg\"><title>" + plan.schedule +
           " " + std::to_string(report.stages.size()) + " " +
           std::to_string(job.model.num_devices()) + "</title></svg>\n";
}

}  // namespace fusionllm
