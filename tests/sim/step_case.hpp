#pragma once

#include <algorithm>
#include <random>
#include <vector>

#include <fmt/format.h>

#include "fusionllm/plan/schedule.hpp"
#include "fusionllm/plan/step_costs.hpp"
#include "fusionllm/topology/network.hpp"

namespace fusionllm::test {

//! One stage a device and one device a site: no line is shared, link s to s + 1
//! and back is what `join` says.
class StepCase {
public:
    StepCase(int num_stages, int micro_batches) : micro_batches(micro_batches) {
        costs.stages.resize(num_stages);
        topology.kinds.resize(1);
        for (int s = 0; s < num_stages; ++s) {
            const auto name = fmt::format("site{}", s);
            topology.devices.push_back({name + "-0", "", name, 0});
            topology.sites.push_back({name, {}, {}, 0, 0});
        }
        topology.site_links.resize(num_stages * num_stages);
        for (int s = 0; s + 1 < num_stages; ++s) {
            costs.forward.push_back({device(s), device(s + 1), {0.0}});
            costs.backward.push_back({device(s + 1), device(s), {0.0}});
        }
    }

    static DeviceId device(int index) {
        return DeviceId(static_cast<std::uint32_t>(index));
    }
    Link& link(int from, int to) {
        return topology.site_links[from * topology.sites.size() + to];
    }
    int num_stages() const { return static_cast<int>(costs.stages.size()); }
    Network network() const { return Network(topology); }

    StepCosts costs;
    Topology topology;
    int micro_batches;
};

//! Everything between 0.1 and 1, so that nothing is free and nothing dominates.
inline StepCase make_random_case(std::mt19937& random,
                                 int num_stages,
                                 int micro_batches) {
    std::uniform_real_distribution<double> number(0.1, 1);
    StepCase step(num_stages, micro_batches);
    for (StageSeconds& stage : step.costs.stages) {
        stage = {number(random), number(random), number(random)};
    }
    for (int s = 0; s + 1 < num_stages; ++s) {
        step.costs.forward[s].bytes = {number(random)};
        step.costs.backward[s].bytes = {number(random)};
        step.link(s, s + 1) = {number(random), number(random)};
        step.link(s + 1, s) = {number(random), number(random)};
    }
    return step;
}

//! Bytes of their own for every micro-batch.
inline void vary_bytes(StepCase& step, std::mt19937& random) {
    std::uniform_real_distribution<double> number(0.1, 1);
    for (auto* list : {&step.costs.forward, &step.costs.backward}) {
        for (Crossing& crossing : *list) {
            crossing.bytes.resize(step.micro_batches);
            std::ranges::generate(crossing.bytes,
                                  [&] { return number(random); });
        }
    }
}

}  // namespace fusionllm::test
