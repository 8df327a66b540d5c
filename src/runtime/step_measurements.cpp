#include "fusionllm/runtime/step_measurements.hpp"

#include <limits>
#include <numeric>

namespace fusionllm {
namespace {

//! The rate while the link was busy, if that was long enough to tell.
double rate_of(const std::vector<std::uint64_t>& bytes,
               double busy_s,
               double step_s) {
    constexpr double busy_enough = 1.0 / 3;
    if (!(busy_s > busy_enough * step_s)) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    return static_cast<double>(
               std::accumulate(bytes.begin(), bytes.end(), std::uint64_t{0})) /
           busy_s;
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
        found.forward_bytes_per_s.push_back(
            rate_of(before.sent.activations, before.forward_busy_s, step_s));
        found.backward_bytes_per_s.push_back(
            rate_of(behind.sent.gradients, behind.backward_busy_s, step_s));
    }
    return found;
}

}  // namespace fusionllm
