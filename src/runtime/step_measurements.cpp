#include "fusionllm/runtime/step_measurements.hpp"

namespace fusionllm {
namespace {

constexpr double busy_enough = 1.0 / 20;  // of a step

std::optional<double> rate_of(const Arrivals& arrivals, double step_s) {
    if (arrivals.bytes > 0 && arrivals.busy_s > busy_enough * step_s) {
        return static_cast<double>(arrivals.bytes) / arrivals.busy_s;
    }
    return std::nullopt;
}

}  // namespace

StepMeasurements measurements_of(const std::vector<StepReport>& reports,
                                 const std::vector<int>& rank_of_stage,
                                 double step_s) {
    StepMeasurements found;
    for (const StepReport& report : reports) {
        found.errors.insert(
            found.errors.end(), report.errors.begin(), report.errors.end());
    }
    for (std::size_t s = 0; s + 1 < rank_of_stage.size(); ++s) {
        const StepReport& before = reports.at(rank_of_stage[s]);
        const StepReport& behind = reports.at(rank_of_stage[s + 1]);
        found.forward.push_back(
            {before.rate_to_next, rate_of(behind.links.activations, step_s)});
        found.backward.push_back(
            {behind.rate_to_previous, rate_of(before.links.gradients, step_s)});
    }
    return found;
}

}  // namespace fusionllm
