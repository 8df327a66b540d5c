// How long does planning take, and how does it grow?
//
//     bench_planner [--quick] [--rule RULE]
//
// Plans chains of GPT-2 XL blocks for made-up sites of mixed devices joined by
// links of 8 Mbit/s to 10 Gbit/s, and prints a CSV line a case: devices, ops,
// seconds for the graph, its costs and the plan, the step time that the plan
// promises against that of equal flops with the same rule of compression, and
// the peak memory of the process. No launch, no GPU, one thread.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include <fmt/format.h>
#include <sys/resource.h>

#include "fusionllm/cost/workload.hpp"
#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/sim/choose_plan.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/timing.hpp"

namespace {

using namespace fusionllm;

constexpr int micro_batches = 32;
constexpr double adamw_state = 8;

struct Case {
    int num_devices;
    int layers;
};

//! Sites of four to eight devices; 48 of them are six sites.
Topology make_sites(int num_devices) {
    std::mt19937 random(48);
    std::vector<SiteSpec> specs;
    for (int left = num_devices; left > 0;) {
        const int ranks = std::min(left, 4 + static_cast<int>(random() % 5));
        specs.push_back({fmt::format("site{}", specs.size()), ranks});
        left -= ranks;
    }
    Topology topology = make_topology(specs);
    for (Link& link : topology.site_links) {
        // 8 Mbit/s to 1 Gbit/s between sites.
        const double exponent = static_cast<double>(random() % 211) / 100;
        link = {0.001 * static_cast<double>(1 + random() % 100),
                1e6 * std::pow(10.0, exponent)};
    }
    for (Site& site : topology.sites) {
        site.link = {1e-4, 1.25e8 * static_cast<double>(1 + random() % 10)};
        site.host_link = site.link;
    }
    topology.kinds.clear();
    for (const auto& [flops, gib] :
         {std::pair{13.4e12, 11.0}, {35.6e12, 24.0}, {19.5e12, 80.0}}) {
        DeviceKind kind;
        kind.name = fmt::format("gpu{}", topology.kinds.size());
        kind.flops_per_s = flops;
        kind.memory_bytes = gib * 1024 * 1024 * 1024;
        kind.memory_bandwidth_bytes_per_s = 1e12;
        topology.kinds.push_back(kind);
    }
    for (Device& device : topology.devices) {
        device.kind = random() % 3;
    }
    return topology;
}

double peak_memory_bytes() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

void run(const Case& shape, const std::string& rule) {
    const double begin_s = monotonic_s();
    Gpt2Options options{shape.layers, 1600, 25, 1024, 50257, 0, false};
    const OpGraph graph = make_gpt2(options, 1);
    const double graph_s = monotonic_s();
    const Topology topology = make_sites(shape.num_devices);
    const CostModel model(
        graph, estimate_workload(graph), topology, adamw_state);
    const double model_s = monotonic_s();
    PlanRequest request;
    request.micro_batches = micro_batches;
    request.schedule = "auto";
    request.compression.rule = rule;
    const PlannedStep step = choose_plan(graph, model, topology, request);
    const double end_s = monotonic_s();
    request.partition = "equal_flops";
    double baseline_s = 0;
    try {
        baseline_s =
            choose_plan(graph, model, topology, request).timeline.makespan_s;
    } catch (const InputError&) {
        // It does not fit: no figure.
    }
    std::printf(
        "%d,%zu,%.4f,%.4f,%.4f,%zu,%s,%.6g,%.6g,%.0f\n",
        shape.num_devices,
        graph.ops().size(),
        graph_s - begin_s,
        model_s - graph_s,
        end_s - model_s,
        step.plan.placement.stages.size(),
        step.plan.in_flight.empty() ? step.plan.schedule.c_str() : "1f1b_deep",
        step.timeline.makespan_s,
        baseline_s,
        peak_memory_bytes());
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
    bool is_quick = false;
    std::string rule = "none";
    for (int i = 1; i < argc; ++i) {
        is_quick |= std::strcmp(argv[i], "--quick") == 0;
        if (std::strcmp(argv[i], "--rule") == 0 && i + 1 < argc) {
            rule = argv[++i];
        }
    }
    std::vector<Case> cases = {{4, 4}, {8, 12}};
    if (!is_quick) {
        cases.insert(cases.end(),
                     {{12, 12},
                      {24, 24},
                      {48, 48},
                      {96, 96},
                      {200, 100},
                      {400, 200},
                      {1000, 400}});
    }
    std::printf(
        "devices,ops,graph_s,costs_s,plan_s,stages,schedule,step_s,"
        "equal_flops_step_s,peak_memory_bytes\n");
    try {
        for (const Case& shape : cases) {
            run(shape, rule);
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench_planner: %s\n", error.what());
        return 1;
    }
    return 0;
}
