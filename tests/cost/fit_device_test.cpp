#include "fusionllm/cost/fit_device.hpp"

#include <algorithm>

#include <gtest/gtest.h>

#include "fusionllm/cost/op_seconds.hpp"
#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

std::size_t at(OpKind kind) {
    return static_cast<std::size_t>(kind);
}

DeviceKind known_device() {
    DeviceKind device;
    device.name = "made-up";
    device.flops_per_s = 1e11;
    device.memory_bandwidth_bytes_per_s = 1e10;
    return device;
}

//! A device whose every kind has an efficiency of its own.
DeviceKind true_device() {
    DeviceKind device = known_device();
    device.op_overhead_s = 3e-6;
    for (std::size_t kind = 0; kind < num_op_kinds; ++kind) {
        const auto share = static_cast<double>(kind + 1);
        device.forward_efficiency[kind] = 0.09 * share;
        device.backward_efficiency[kind] = 0.07 * share;
    }
    return device;
}

//! What a measurement on the device would say of a small GPT-2.
std::vector<MeasuredOpCost> measure_made_up(const DeviceKind& device) {
    const OpGraph graph = make_gpt2({}, 2);
    const Workload workload = estimate_workload(graph);
    std::vector<MeasuredOpCost> ops;
    for (std::size_t i = 0; i < workload.ops.size(); ++i) {
        const OpCost& cost = workload.ops[i];
        const OpSeconds seconds = estimate_by_formula(cost, device);
        ops.push_back({op_signature(graph, graph.ops()[i]),
                       cost,
                       seconds.forward_s,
                       seconds.backward_s,
                       1});
    }
    return ops;
}

TEST(FitDeviceTest, recovers_the_device_that_made_the_measurements) {
    const DeviceKind device = true_device();

    const DeviceKind fitted =
        fit_device_kind(known_device(), measure_made_up(device));

    EXPECT_EQ(fitted.name, "made-up");
    EXPECT_DOUBLE_EQ(fitted.op_overhead_s, 3e-6);
    for (const OpKind kind : {OpKind::contraction,
                              OpKind::normalization,
                              OpKind::elementwise,
                              OpKind::reduction,
                              OpKind::lookup,
                              OpKind::copy}) {
        EXPECT_NEAR(fitted.forward_efficiency[at(kind)],
                    device.forward_efficiency[at(kind)],
                    1e-9);
        EXPECT_NEAR(fitted.backward_efficiency[at(kind)],
                    device.backward_efficiency[at(kind)],
                    1e-9);
    }
}

TEST(FitDeviceTest, one_op_of_many_that_went_wrong_moves_nothing) {
    auto ops = measure_made_up(true_device());
    const auto product = std::ranges::find_if(ops, [](const auto& op) {
        return op.cost.kind == OpKind::contraction;
    });
    product->forward_s *= 100;

    const DeviceKind fitted = fit_device_kind(known_device(), ops);

    EXPECT_NEAR(fitted.forward_efficiency[at(OpKind::contraction)], 0.09, 1e-9);
}

TEST(FitDeviceTest, a_kind_that_was_not_measured_takes_its_relatives) {
    const DeviceKind fitted =
        fit_device_kind(known_device(), measure_made_up(true_device()));

    EXPECT_EQ(fitted.forward_efficiency[at(OpKind::convolution)],
              fitted.forward_efficiency[at(OpKind::contraction)]);
    EXPECT_EQ(fitted.forward_efficiency[at(OpKind::attention)],
              fitted.forward_efficiency[at(OpKind::contraction)]);
    EXPECT_EQ(fitted.backward_efficiency[at(OpKind::other)],
              fitted.backward_efficiency[at(OpKind::elementwise)]);
}

TEST(FitDeviceTest, files_every_measurement_under_its_signature) {
    const auto ops = measure_made_up(true_device());

    const DeviceKind fitted = fit_device_kind(known_device(), ops);

    ASSERT_EQ(fitted.measured.size(), ops.size());
    EXPECT_EQ(fitted.measured.front().signature, ops.front().signature);
    EXPECT_EQ(fitted.measured.front().forward_s, ops.front().forward_s);
}

TEST(FitDeviceTest, without_measurements_a_device_stays_as_it_was) {
    EXPECT_EQ(fit_device_kind(known_device(), {}), known_device());
}

TEST(FitDeviceTest, shares_of_nothing_are_refused) {
    DeviceKind device = known_device();
    device.memory_bandwidth_bytes_per_s = 0;

    EXPECT_THROW(fit_device_kind(device, {}), InputError);
}

TEST(MeanRelativeErrorTest, weights_ops_by_their_time) {
    DeviceKind device = known_device();
    OpCost cost;
    cost.kind = OpKind::contraction;
    cost.forward_flops = 1e11;  // predicted 1 s
    const MeasuredOpCost half{"a", cost, 2, 0, 3};
    const MeasuredOpCost right{"b", cost, 1, 0, 2};

    // 3 x |1 - 2| of 3 x 2 + 2 x 1 seconds
    EXPECT_DOUBLE_EQ(mean_relative_error(device, {half, right}), 3.0 / 8.0);
    EXPECT_EQ(mean_relative_error(device, {}), 0);
}

}  // namespace
}  // namespace fusionllm::test
