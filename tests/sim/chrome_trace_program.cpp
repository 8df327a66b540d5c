// Prints the trace of a step on shared lines, with names that need quoting.

#include <cstdio>

#include "fusionllm/sim/chrome_trace.hpp"
#include "fusionllm/sim/simulate.hpp"

#include "step_case.hpp"

int main() {
    using namespace fusionllm;
    using namespace fusionllm::test;
    std::mt19937 random(5);
    StepCase step = make_random_case(random, 4, 6);
    vary_bytes(step, random);
    step.topology.sites[1].name = "\"quoted\" \\ back\nslash";
    step.topology.devices[1].site = step.topology.sites[1].name;
    step.topology.sites[1].uplink_bytes_per_s = 0.3;
    step.costs.parameter_gradients = {
        {StepCase::device(0), StepCase::device(3), {1.5}}};
    step.link(0, 3) = {0.5, 2};
    const Network network = step.network();

    const Timeline timeline = simulate(make_1f1b(4, 6), step.costs, network);

    std::fputs(to_chrome_trace(
                   timeline, step.costs, network, {"a", "b\t", "c \"c\"", "d"})
                   .c_str(),
               stdout);
}
