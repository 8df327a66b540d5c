#pragma once

#include <limits>
#include <vector>

#include <fmt/format.h>

#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/plan/cost_model.hpp"

namespace fusionllm::test {

/*!
 * A chain of ops, each a stage on a device and site of its own. Every value has
 * 64 rows of 128 elements, 32768 bytes. A stage takes 1 s forward and 2 s
 * backward; copies are free, and links too until a test says how slow they are.
 */
class FenceCase {
public:
    static constexpr std::int64_t rows = 64;
    static constexpr std::int64_t columns = 128;
    static constexpr double dense_bytes = 4.0 * rows * columns;

    explicit FenceCase(int num_stages) : num_stages_(num_stages) {
        DeviceKind kind;
        kind.flops_per_s = 1e9;
        kind.memory_bandwidth_bytes_per_s = 0;
        topology.kinds = {kind};
        for (int s = 0; s < num_stages; ++s) {
            const auto name = fmt::format("site{}", s);
            topology.devices.push_back({name + "-0", "", name, 0});
            topology.sites.push_back({name, {}, {}, 0, 0});
        }
        topology.site_links.resize(topology.sites.size() *
                                   topology.sites.size());
    }

    Link& link(int from, int to) {
        return topology.site_links[from * topology.sites.size() + to];
    }
    //! Both directions between stages s and s + 1: this long for a dense value.
    void set_dense_s(int s, double seconds) {
        const Link link{0, (dense_bytes + 128) / seconds};
        this->link(s, s + 1) = link;
        this->link(s + 1, s) = link;
    }

    OpGraph graph() const {
        const TensorType type{DType::f32, {rows, columns}};
        GraphBuilder graph("chain");
        ValueId x =
            graph.add_parameter("w", type, {Initializer::Kind::normal, 0.02});
        for (int i = 0; i + 1 < num_stages_; ++i) {
            x = graph.add_op(fmt::format("op.{}", i), "aten::relu", {x}, type);
        }
        graph.set_loss(
            graph.add_op("loss", "aten::sum", {x}, {DType::f32, {}}));
        return graph.build();
    }
    CostModel model() const {
        Workload workload;
        for (int i = 0; i < num_stages_; ++i) {
            OpCost cost;
            cost.kind = OpKind::contraction;
            cost.forward_flops = 1e9;
            cost.backward_flops = 2e9;
            cost.has_backward = true;
            workload.ops.push_back(cost);
        }
        return {graph(), workload, topology, 0};
    }
    Placement placement() const {
        Placement placement;
        for (std::uint32_t s = 0; s < topology.devices.size(); ++s) {
            placement.stages.push_back({{s, s + 1}, {DeviceId(s)}});
        }
        return placement;
    }
    static MatrixShape shape() { return {rows, columns}; }

    Topology topology;

private:
    int num_stages_;
};

}  // namespace fusionllm::test
