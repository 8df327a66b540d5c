#include "fusionllm/cost/op_seconds.hpp"

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "op_costs.hpp"

namespace fusionllm::test {
namespace {

constexpr auto contraction = static_cast<std::size_t>(OpKind::contraction);
constexpr auto elementwise = static_cast<std::size_t>(OpKind::elementwise);

//! x (8, 4) -> y = x w -> v, a view -> z = relu -> loss
OpGraph small_graph() {
    GraphBuilder graph("small");
    const auto x = graph.add_input("x", f32({8, 4}));
    const auto w =
        graph.add_parameter("w", f32({4, 2}), {Initializer::Kind::ones, 0});
    const auto y = graph.add_op("y", "aten::mm", {x, w}, f32({8, 2}));
    const auto v = graph.add_op("v", "aten::view", {y, Ints{16}}, f32({16}));
    const auto z = graph.add_op("z", "aten::relu", {v}, f32({16}));
    graph.set_loss(graph.add_op("loss", "aten::sum", {z}, f32({})));
    return graph.build();
}

DeviceKind slow_device() {
    DeviceKind device;
    device.flops_per_s = 1000;
    device.memory_bandwidth_bytes_per_s = 2000;
    device.op_overhead_s = 0.5;
    device.forward_efficiency[contraction] = 0.5;
    device.backward_efficiency[contraction] = 0.25;
    return device;
}

OpSeconds seconds_of(const OpGraph& graph,
                     const DeviceKind& device,
                     std::string_view name) {
    const auto seconds =
        estimate_op_seconds(graph, estimate_workload(graph), device);
    for (std::size_t i = 0; i < seconds.size(); ++i) {
        if (graph.ops()[i].name == name) {
            return seconds[i];
        }
    }
    throw Error("no such op");
}

TEST(OpSecondsTest, the_larger_of_flops_and_bytes_counts) {
    const OpGraph graph = small_graph();

    const OpSeconds product = seconds_of(graph, slow_device(), "y");
    const OpSeconds relu = seconds_of(graph, slow_device(), "z");

    // 128 flops at 500/s against 224 bytes at 1000/s; then 16 against 128.
    EXPECT_DOUBLE_EQ(product.forward_s, 0.5 + 128.0 / 500);
    EXPECT_DOUBLE_EQ(relu.forward_s, 0.5 + 128.0 / 2000);
}

TEST(OpSecondsTest, the_backward_has_its_own_efficiency_and_adds_gradients) {
    const OpGraph graph = small_graph();

    const OpSeconds product = seconds_of(graph, slow_device(), "y");

    // One factor: 128 flops at 250/s, 224 bytes at 500/s; 3 x 32 bytes added.
    EXPECT_DOUBLE_EQ(product.backward_s, 0.5 + 128.0 / 250 + 96.0 / 2000);
}

TEST(OpSecondsTest, a_view_takes_the_overhead) {
    const OpSeconds view = seconds_of(small_graph(), slow_device(), "v");

    EXPECT_EQ(view, (OpSeconds{0.5, 0.5}));
}

TEST(OpSecondsTest, without_a_loss_nothing_goes_backward) {
    GraphBuilder graph("forward");
    const auto x = graph.add_input("x", f32({8}));
    graph.set_output(graph.add_op("y", "aten::relu", {x}, f32({8})));

    EXPECT_EQ(seconds_of(graph.build(), slow_device(), "y").backward_s, 0);
}

TEST(OpSecondsTest, unknown_bandwidth_moves_bytes_for_free) {
    DeviceKind device = slow_device();
    device.memory_bandwidth_bytes_per_s = 0;

    EXPECT_DOUBLE_EQ(seconds_of(small_graph(), device, "z").forward_s,
                     0.5 + 16.0 / 1000);
}

TEST(OpSecondsTest, a_measured_time_wins) {
    DeviceKind device = slow_device();
    device.measured = {{"aten::relu f32[16] -> f32[16]", 7, 9},
                       {"aten::relu f32[17] -> f32[17]", 1, 1}};

    EXPECT_EQ(seconds_of(small_graph(), device, "z"), (OpSeconds{7, 9}));
}

TEST(OpSecondsTest, half_precision_has_a_peak_of_its_own) {
    GraphBuilder graph("half");
    const TensorType type{DType::f16, {1000}};
    const auto x = graph.add_input("x", type);
    graph.set_output(graph.add_op("y", "aten::relu", {x}, type));
    DeviceKind device;
    device.flops_per_s = 1000;
    device.half_flops_per_s = 4000;

    EXPECT_DOUBLE_EQ(seconds_of(graph.build(), device, "y").forward_s, 0.25);
}

TEST(OpSecondsTest, a_device_without_speed_is_refused) {
    DeviceKind no_peak;
    no_peak.flops_per_s = 0;
    DeviceKind no_share;
    no_share.backward_efficiency[elementwise] = 0;

    EXPECT_THROW(seconds_of(small_graph(), no_peak, "y"), InputError);
    EXPECT_THROW(seconds_of(small_graph(), no_share, "y"), InputError);
}

TEST(OpSecondsTest, a_workload_of_another_graph_is_refused) {
    EXPECT_THROW(estimate_op_seconds(small_graph(), {}, slow_device()),
                 InputError);
}

TEST(OpSecondsTest, copies_and_updates_are_measured_or_passes_over_memory) {
    DeviceKind device = slow_device();
    DeviceKind measured = slow_device();
    measured.copy_bytes_per_s = 50;
    measured.update_bytes_per_s = 20;

    EXPECT_DOUBLE_EQ(estimate_copy_s(100, device), 2 * 100.0 / 2000);
    EXPECT_DOUBLE_EQ(estimate_update_s(100, device), 22 * 100.0 / 2000);
    EXPECT_DOUBLE_EQ(estimate_copy_s(100, measured), 2);
    EXPECT_DOUBLE_EQ(estimate_update_s(100, measured), 5);
}

TEST(OpSignatureTest, names_target_and_types_only) {
    const OpGraph graph = small_graph();

    EXPECT_EQ(op_signature(graph, graph.ops().front()),
              "aten::mm f32[8,4] f32[4,2] -> f32[8,2]");
    EXPECT_EQ(op_signature(graph, graph.ops().back()),
              "aten::sum f32[16] -> f32[]");
}

}  // namespace
}  // namespace fusionllm::test
