#include "fusionllm/runtime/emulation.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "fusionllm/sim/simulate.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

std::vector<double> bytes_of(const std::vector<std::uint64_t>& sent,
                             std::size_t stage,
                             int micro_batches) {
    if (sent.size() != static_cast<std::size_t>(micro_batches)) {
        throw Error(fmt::format(
            "stage {} reports the bytes of {} micro-batches instead of {}; do "
            "all ranks run the same version of the program?",
            stage,
            sent.size(),
            micro_batches));
    }
    return {sent.begin(), sent.end()};
}

std::uint64_t sum(const std::vector<std::uint64_t>& bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), std::uint64_t{0});
}

int rank_of(DeviceId device, const std::vector<DeviceId>& device_of_rank) {
    const auto found = std::ranges::find(device_of_rank, device);
    FUSIONLLM_EXPECTS(found != device_of_rank.end());
    return static_cast<int>(found - device_of_rank.begin());
}

}  // namespace

StepCosts with_sent_bytes(StepCosts costs,
                          const std::vector<SentBytes>& sent,
                          const std::vector<int>& rank_of_stage,
                          const std::vector<DeviceId>& device_of_rank,
                          int micro_batches) {
    for (std::size_t s = 0; s + 1 < rank_of_stage.size(); ++s) {
        costs.forward.at(s).bytes =
            bytes_of(sent.at(rank_of_stage[s]).activations, s, micro_batches);
        costs.backward.at(s).bytes = bytes_of(
            sent.at(rank_of_stage[s + 1]).gradients, s + 1, micro_batches);
    }
    costs.parameter_gradients.clear();
    for (std::size_t rank = 0; rank < sent.size(); ++rank) {
        for (const auto& [to, bytes] : sent[rank].parameter_gradients) {
            costs.parameter_gradients.push_back({device_of_rank.at(rank),
                                                 device_of_rank.at(to),
                                                 {static_cast<double>(bytes)}});
        }
    }
    return costs;
}

EmulatedClock::EmulatedClock(Emulation emulation,
                             const Plan& plan,
                             std::vector<int> rank_of_stage,
                             std::vector<DeviceId> device_of_rank)
    : emulation_(std::move(emulation)),
      micro_batches_(plan.micro_batches),
      rank_of_stage_(std::move(rank_of_stage)),
      device_of_rank_(std::move(device_of_rank)),
      schedule_(make_schedule(plan)),
      costs_(emulation_.estimate(plan.fences)),
      now_s_(emulation_.begin_s) {}

void EmulatedClock::set_fences(const std::vector<Fence>& fences) {
    costs_ = emulation_.estimate(fences);
}

void EmulatedClock::add_step(const std::vector<SentBytes>& sent) {
    step_s_ = simulate_step_s(
        schedule_,
        with_sent_bytes(
            costs_, sent, rank_of_stage_, device_of_rank_, micro_batches_),
        emulation_.network);
    now_s_ += step_s_;
}

void add_traffic(RankTraffic& traffic,
                 const std::vector<SentBytes>& sent,
                 const std::vector<int>& rank_of_stage) {
    for (std::size_t s = 0; s + 1 < rank_of_stage.size(); ++s) {
        const int before = rank_of_stage[s];
        const int after = rank_of_stage[s + 1];
        traffic[{before, after}] += sum(sent.at(before).activations);
        traffic[{after, before}] += sum(sent.at(after).gradients);
    }
    for (std::size_t rank = 0; rank < sent.size(); ++rank) {
        for (const auto& [to, bytes] : sent[rank].parameter_gradients) {
            traffic[{static_cast<int>(rank), to}] += bytes;
        }
    }
}

RankTraffic foresee_traffic(const StepCosts& costs,
                            const std::vector<int>& rank_of_stage,
                            const std::vector<DeviceId>& device_of_rank,
                            int micro_batches) {
    RankTraffic traffic;
    const auto whole = [](double bytes) {
        return static_cast<std::uint64_t>(std::llround(bytes));
    };
    for (std::size_t s = 0; s + 1 < rank_of_stage.size(); ++s) {
        const int before = rank_of_stage[s];
        const int after = rank_of_stage[s + 1];
        for (int m = 0; m < micro_batches; ++m) {
            traffic[{before, after}] += whole(costs.forward.at(s).bytes_of(m));
            traffic[{after, before}] += whole(costs.backward.at(s).bytes_of(m));
        }
    }
    for (const Crossing& crossing : costs.parameter_gradients) {
        traffic[{rank_of(crossing.from, device_of_rank),
                 rank_of(crossing.to, device_of_rank)}] +=
            whole(crossing.bytes_of(0));
    }
    return traffic;
}

}  // namespace fusionllm
