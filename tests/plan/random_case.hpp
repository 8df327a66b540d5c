#pragma once

#include <cmath>
#include <random>

#include <fmt/format.h>

#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/plan/cost_model.hpp"

namespace fusionllm::test {

//! Devices of several sites and kinds, and what limits a random case.
struct CaseShape {
    int num_ops = 8;
    int num_devices = 3;
    enum class Memory { unlimited, limited } memory = Memory::unlimited;
    enum class Lines { own, shared } lines = Lines::own;
    //! By how many ops the one parameter may be read.
    enum class Parameter {
        by_one,
        by_several
    } parameter = Parameter::by_several;
};

//! A chain of ops with skip connections; values of 4 B to 4 MB.
inline OpGraph make_random_graph(std::mt19937& random, const CaseShape& shape) {
    const auto size = [&] {
        return static_cast<std::int64_t>(1) << (random() % 20);
    };
    GraphBuilder graph("random");
    std::vector<ValueId> values{graph.add_parameter(
        "w", {DType::f32, {size()}}, {Initializer::Kind::normal, 0.02})};
    for (int i = 0; i + 1 < shape.num_ops; ++i) {
        // Any op will do: costs are drawn apart from it.
        std::vector<Argument> arguments{values.back()};
        if (random() % 4 == 0) {
            const std::size_t first =
                shape.parameter == CaseShape::Parameter::by_one &&
                        values.size() > 1
                    ? 1
                    : 0;
            arguments.emplace_back(
                values[first + random() % (values.size() - first)]);
        }
        values.push_back(
            graph.add_op(fmt::format("op.{:03}", i),
                         arguments.size() == 1 ? "aten::relu" : "aten::mul",
                         arguments,
                         {DType::f32, {size()}}));
    }
    graph.set_loss(graph.add_op(
        "op.loss", "aten::sum", {values.back()}, {DType::f32, {}}));
    return graph.build();
}

inline Workload make_random_workload(std::mt19937& random, int num_ops) {
    Workload workload;
    for (int i = 0; i < num_ops; ++i) {
        OpCost cost;
        cost.kind = OpKind::contraction;
        cost.forward_flops = 1e6 * static_cast<double>(random() % 1000);
        cost.backward_flops =
            cost.forward_flops * static_cast<double>(random() % 4);
        cost.saved_bytes = 1e4 * static_cast<double>(random() % 100);
        cost.output_bytes = 1e3;
        workload.ops.push_back(cost);
    }
    return workload;
}

inline Topology make_random_topology(std::mt19937& random,
                                     const CaseShape& shape) {
    const auto bandwidth = [&] {
        return 1e6 * std::pow(10.0, static_cast<double>(random() % 31) / 10);
    };
    const auto latency = [&] {
        return 1e-4 * static_cast<double>(random() % 300);
    };
    std::vector<SiteSpec> specs;
    for (int left = shape.num_devices; left > 0;) {
        const int ranks = 1 + static_cast<int>(random() % left);
        specs.push_back({fmt::format("site{}", specs.size()), ranks});
        left -= ranks;
    }
    Topology topology = make_topology(specs);
    for (Site& site : topology.sites) {
        site.link = {1e-5, 1e8 * static_cast<double>(1 + random() % 12)};
        site.host_link = site.link;
        if (shape.lines == CaseShape::Lines::shared && random() % 2 == 0) {
            site.uplink_bytes_per_s = bandwidth();
        }
    }
    for (Link& link : topology.site_links) {
        link = {latency(), bandwidth()};
    }
    topology.kinds.clear();
    for (Device& device : topology.devices) {
        DeviceKind kind;
        kind.name = fmt::format("kind{}", topology.kinds.size());
        kind.flops_per_s = 1e10 * static_cast<double>(1 + random() % 40);
        kind.memory_bandwidth_bytes_per_s = 1e11;
        if (shape.memory == CaseShape::Memory::limited) {
            kind.memory_bytes = 5e6 * static_cast<double>(1 + random() % 8);
        }
        device.kind = static_cast<std::uint32_t>(topology.kinds.size());
        topology.kinds.push_back(kind);
    }
    return topology;
}

inline CostModel make_random_model(std::mt19937& random,
                                   const CaseShape& shape) {
    const OpGraph graph = make_random_graph(random, shape);
    return {graph,
            make_random_workload(random, shape.num_ops),
            make_random_topology(random, shape),
            8};
}

}  // namespace fusionllm::test
