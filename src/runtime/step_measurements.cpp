#include "fusionllm/runtime/step_measurements.hpp"

#include <limits>
#include <numeric>

namespace fusionllm {
namespace {

// Shares of a step. A sender's time may have waits for the receiver in it, a
// receiver's has not.
constexpr double busy_enough_for_sender = 1.0 / 3;
constexpr double busy_enough_for_receiver = 1.0 / 20;

//! The rate while the link was busy, if that was long enough to tell: by the
//! receiver, which sees messages in pieces, or else by the sender.
double rate_of(const std::vector<std::uint64_t>& sent,
               double busy_s,
               const Arrivals& arrivals,
               double step_s) {
    if (arrivals.bytes > 0 &&
        arrivals.busy_s > busy_enough_for_receiver * step_s) {
        return static_cast<double>(arrivals.bytes) / arrivals.busy_s;
    }
    if (!(busy_s > busy_enough_for_sender * step_s)) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    return static_cast<double>(
               std::accumulate(sent.begin(), sent.end(), std::uint64_t{0})) /
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
        found.forward_bytes_per_s.push_back(rate_of(before.sent.activations,
                                                    before.links.forward_busy_s,
                                                    behind.links.activations,
                                                    step_s));
        found.backward_bytes_per_s.push_back(
            rate_of(behind.sent.gradients,
                    behind.links.backward_busy_s,
                    before.links.gradients,
                    step_s));
    }
    return found;
}

}  // namespace fusionllm
