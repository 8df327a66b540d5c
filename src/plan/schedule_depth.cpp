#include "fusionllm/plan/schedule_depth.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

double mean_bytes(const Crossing& crossing) {
    return std::accumulate(crossing.bytes.begin(), crossing.bytes.end(), 0.0) /
           static_cast<double>(std::max<std::size_t>(crossing.bytes.size(), 1));
}

double crossing_s(const Crossing& crossing, const Network& network) {
    return transfer_s(network.link(crossing.from, crossing.to),
                      mean_bytes(crossing));
}

double find_period_s(const StepCosts& costs, const Network& network) {
    double period_s = 0;
    for (const StageSeconds& stage : costs.stages) {
        period_s = std::max(period_s, stage.forward_s + stage.backward_s);
    }
    std::vector<double> line_s(network.num_lines(), 0);
    for (const auto* list : {&costs.forward, &costs.backward}) {
        for (const Crossing& crossing : *list) {
            const auto& [from, to, all_bytes] = crossing;
            const double bytes = mean_bytes(crossing);
            period_s = std::max(
                period_s, bytes / network.link(from, to).bandwidth_bytes_per_s);
            for (const LineId line : network.lines(from, to)) {
                line_s[line.get()] +=
                    bytes / network.line(line).bandwidth_bytes_per_s;
                period_s = std::max(period_s, line_s[line.get()]);
            }
        }
    }
    return period_s;
}

//! What Little's law asks for; M where nothing but latency takes time.
int ask(double round_trip_s, double period_s, int micro_batches) {
    if (round_trip_s == 0) {
        return 1;
    }
    // Rounding must not cost a whole micro-batch of memory.
    constexpr double slack = 1e-9;
    const double num = std::ceil(round_trip_s / period_s - slack);
    return num < micro_batches ? static_cast<int>(num) : micro_batches;
}

void check_limits(const std::vector<int>& limits, std::size_t num_stages) {
    FUSIONLLM_VALIDATE(limits.size() == num_stages,
                       "{} limits of micro-batches in flight for {} stages; "
                       "give one a stage",
                       limits.size(),
                       num_stages);
    for (std::size_t s = 0; s < num_stages; ++s) {
        FUSIONLLM_VALIDATE(limits[s] >= 1,
                           "stage {} may have {} micro-batches in flight; it "
                           "needs room for 1",
                           s,
                           limits[s]);
    }
}

}  // namespace

std::vector<int> choose_in_flight(const StepCosts& costs,
                                  const Network& network,
                                  int micro_batches,
                                  const std::vector<int>& limits) {
    const std::size_t num_stages = costs.stages.size();
    check_limits(limits, num_stages);
    const double period_s = find_period_s(costs, network);
    std::vector<int> in_flight(num_stages, 1);
    double round_trip_s = 0;
    for (std::size_t s = num_stages; s-- > 0;) {
        round_trip_s += costs.stages[s].forward_s + costs.stages[s].backward_s;
        if (s + 1 < num_stages) {
            round_trip_s += crossing_s(costs.forward.at(s), network) +
                            crossing_s(costs.backward.at(s), network);
        }
        const int asked = ask(round_trip_s, period_s, micro_batches);
        const int classic = static_cast<int>(num_stages - s);
        in_flight[s] =
            std::min({std::max(asked, classic), limits[s], micro_batches});
    }
    for (std::size_t s = 1; s < num_stages; ++s) {
        in_flight[s] = std::min(in_flight[s], in_flight[s - 1]);
    }
    return in_flight;
}

}  // namespace fusionllm
