#include "fusionllm/plan/step_time.hpp"

#include <algorithm>
#include <vector>

namespace fusionllm {
namespace {

//! One direction of all boundaries.
struct Sweep {
    double sum_s = 0;   // of R
    double most_s = 0;  // largest W of a link
};

//! Seconds that each line is taken by the messages of one micro-batch.
class LineLoad {
public:
    explicit LineLoad(const Network& network)
        : network_(network), seconds_(network.num_lines()) {}

    void add(const Crossing& crossing, double bytes) {
        for (const LineId line : network_.lines(crossing.from, crossing.to)) {
            seconds_[line.get()] +=
                bytes / network_.line(line).bandwidth_bytes_per_s;
        }
    }
    double most_s() const {
        return seconds_.empty() ? 0 : std::ranges::max(seconds_);
    }

private:
    const Network& network_;
    std::vector<double> seconds_;
};

Sweep measure(const std::vector<Crossing>& crossings,
              const Network& network,
              LineLoad& load) {
    Sweep sweep;
    for (const Crossing& crossing : crossings) {
        const Link link = network.link(crossing.from, crossing.to);
        const double bytes = crossing.bytes_of(0);
        sweep.sum_s += transfer_s(link, bytes);
        sweep.most_s =
            std::max(sweep.most_s, bytes / link.bandwidth_bytes_per_s);
        load.add(crossing, bytes);
    }
    return sweep;
}

double end_of_step_s(const StepCosts& costs, const Network& network) {
    double update_s = 0;
    for (const StageSeconds& stage : costs.stages) {
        update_s = std::max(update_s, stage.update_s);
    }
    double exchange_s = 0;
    for (const Crossing& crossing : costs.parameter_gradients) {
        exchange_s =
            std::max(exchange_s,
                     transfer_s(network.link(crossing.from, crossing.to),
                                crossing.bytes_of(0)));
    }
    return exchange_s + update_s;
}

}  // namespace

double analytic_step_s(const StepCosts& costs,
                       const Network& network,
                       int micro_batches,
                       Objective objective) {
    LineLoad forward_load(network);
    LineLoad backward_load(network);
    const bool is_interleaved = objective == Objective::interleaved;
    const Sweep forward = measure(costs.forward, network, forward_load);
    const Sweep backward = measure(
        costs.backward, network, is_interleaved ? forward_load : backward_load);
    double sum_s = forward.sum_s + backward.sum_s;
    double most_forward_s = 0;
    double most_backward_s = 0;
    double most_s = 0;
    for (const StageSeconds& stage : costs.stages) {
        sum_s += stage.forward_s + stage.backward_s;
        most_forward_s = std::max(most_forward_s, stage.forward_s);
        most_backward_s = std::max(most_backward_s, stage.backward_s);
        most_s = std::max(most_s, stage.forward_s + stage.backward_s);
    }
    const double period_s =
        is_interleaved
            ? std::max({most_s,
                        forward.most_s,
                        backward.most_s,
                        forward_load.most_s()})
            : std::max(
                  {most_forward_s, forward.most_s, forward_load.most_s()}) +
                  std::max({most_backward_s,
                            backward.most_s,
                            backward_load.most_s()});
    return sum_s + (micro_batches - 1) * period_s +
           end_of_step_s(costs, network);
}

}  // namespace fusionllm
