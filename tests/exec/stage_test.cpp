// Graphs made to be hard to cut; each must not notice where it is.

#include "fusionllm/exec/stage.hpp"

#include <bit>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/util/error.hpp"

#include "random_graph.hpp"
#include "stage_chain.hpp"

namespace fusionllm::test {
namespace {

using Sizes = std::vector<std::int64_t>;

TensorType f32(Sizes sizes) {
    return {DType::f32, std::move(sizes)};
}

constexpr Initializer uniform{Initializer::Kind::uniform, 1.0};

//! Adds the mean square of a value as the loss.
OpGraph with_loss(GraphBuilder& graph, ValueId value) {
    const ValueId square = graph.add_op(
        "square", "aten::mul.Tensor", {value, value}, graph.type(value));
    graph.set_loss(graph.add_op("loss", "aten::mean", {square}, f32({})));
    return graph.build();
}

//! One value with users on all sides of every cut.
OpGraph make_residual() {
    GraphBuilder graph("residual");
    const TensorType type = f32({3, 7});
    const ValueId x = graph.add_input("x", type);
    const ValueId w = graph.add_parameter("w", type, uniform);
    const ValueId trunk =
        graph.add_op("trunk", "aten::mul.Tensor", {x, w}, type);
    ValueId sum = trunk;
    for (int i = 0; i < 6; ++i) {
        const std::string name = "user" + std::to_string(i);
        const ValueId branch = graph.add_op(
            name, i % 2 == 0 ? "aten::tanh" : "aten::sin", {trunk}, type);
        const ValueId product =
            graph.add_op(name + ".x", "aten::mul.Tensor", {branch, sum}, type);
        sum = graph.add_op(
            name + ".sum", "aten::add.Tensor", {product, trunk}, type);
    }
    return with_loss(graph, sum);
}

//! A permuted value whose last user gives an expanded gradient.
OpGraph make_expanded_gradient() {
    GraphBuilder graph("expanded");
    const ValueId x = graph.add_input("x", f32({17, 13}));
    const ValueId w = graph.add_parameter("w", f32({17, 13}), uniform);
    const ValueId bias = graph.add_parameter("bias", f32({13, 1}), uniform);
    const TensorType turned = f32({13, 17});
    const ValueId product =
        graph.add_op("product", "aten::mul.Tensor", {x, w}, f32({17, 13}));
    const ValueId value =
        graph.add_op("value",
                     "aten::add.Tensor",
                     {graph.add_op("turned",
                                   "aten::transpose.int",
                                   {product, std::int64_t{0}, std::int64_t{1}},
                                   turned),
                      bias},
                     turned);
    // Of two ops that free nothing, the canonical order takes "norm" first.
    const ValueId norm =
        graph.add_op("norm", "aten::norm.Scalar", {value, 2.0}, f32({}));
    const ValueId sum = graph.add_op("sum", "aten::sum", {value}, f32({}));
    return with_loss(
        graph, graph.add_op("total", "aten::mul.Tensor", {norm, sum}, f32({})));
}

//! Parts of a split, one of them not used, the others in reverse order.
OpGraph make_parts() {
    GraphBuilder graph("parts");
    const ValueId x = graph.add_input("x", f32({5, 9}));
    const ValueId w = graph.add_parameter("w", f32({9, 9}), uniform);
    const ValueId y = graph.add_op("y", "aten::matmul", {x, w}, f32({5, 9}));
    const auto parts =
        graph.add_op_with_outputs("split",
                                  "aten::split.Tensor",
                                  {y, std::int64_t{3}, std::int64_t{1}},
                                  {f32({5, 3}), f32({5, 3}), f32({5, 3})});
    const ValueId last =
        graph.add_op("last", "aten::tanh", {parts[2]}, f32({5, 3}));
    const ValueId joined = graph.add_op(
        "joined",
        "aten::cat",
        {std::vector<ValueOrNone>{last, parts[0], last}, std::int64_t{0}},
        f32({15, 3}));
    return with_loss(graph, joined);
}

//! Images that lie channels-last in memory, and sizes of 1.
OpGraph make_permuted() {
    GraphBuilder graph("permuted");
    const ValueId x = graph.add_input("x", f32({2, 6, 6, 3}));
    const ValueId kernel =
        graph.add_parameter("kernel", f32({4, 3, 3, 3}), uniform);
    const ValueId w = graph.add_parameter("w", f32({1, 4, 1, 1}), uniform);
    const ValueId images = graph.add_op(
        "images", "aten::permute", {x, Sizes{0, 3, 1, 2}}, f32({2, 3, 6, 6}));
    const ValueId maps = graph.add_op("maps",
                                      "aten::conv2d",
                                      {images,
                                       kernel,
                                       NoArgument{},
                                       Sizes{1, 1},
                                       Sizes{0, 0},
                                       Sizes{1, 1},
                                       std::int64_t{1}},
                                      f32({2, 4, 4, 4}));
    const ValueId scaled = graph.add_op(
        "scaled", "aten::mul.Tensor", {maps, w}, f32({2, 4, 4, 4}));
    const ValueId pooled = graph.add_op("pooled",
                                        "aten::mean.dim",
                                        {scaled, Sizes{2, 3}, true},
                                        f32({2, 4, 1, 1}));
    const ValueId wide = graph.add_op(
        "wide", "aten::expand", {pooled, Sizes{2, 4, 4, 4}}, f32({2, 4, 4, 4}));
    return with_loss(
        graph,
        graph.add_op(
            "rest", "aten::sub.Tensor", {scaled, wide}, f32({2, 4, 4, 4})));
}

//! Integers and masks that are computed on one stage and used on another.
OpGraph make_integers() {
    GraphBuilder graph("integers");
    const ValueId x = graph.add_input("x", f32({4, 6}));
    const ValueId w = graph.add_parameter("w", f32({6, 6}), uniform);
    const ValueId table = graph.add_parameter("table", f32({6, 6}), uniform);
    const ValueId y = graph.add_op("y", "aten::matmul", {x, w}, f32({4, 6}));
    const ValueId best = graph.add_op("best",
                                      "aten::argmax",
                                      {y, std::int64_t{-1}, false},
                                      {DType::i64, {4}});
    const ValueId mask = graph.add_op(
        "mask", "aten::gt.Scalar", {y, 0.0}, {DType::boolean, {4, 6}});
    const ValueId wave = graph.add_op("wave", "aten::sin", {y}, f32({4, 6}));
    const ValueId hidden = graph.add_op(
        "hidden", "aten::masked_fill.Scalar", {wave, mask, 2.0}, f32({4, 6}));
    const ValueId rows =
        graph.add_op("rows",
                     "aten::embedding",
                     {table, best, std::int64_t{-1}, false, false},
                     f32({4, 6}));
    const ValueId sum =
        graph.add_op("sum", "aten::add.Tensor", {hidden, rows}, f32({4, 6}));
    const ValueId again = graph.add_op(
        "again", "aten::masked_fill.Scalar", {sum, mask, 1.0}, f32({4, 6}));
    return with_loss(graph, again);
}

//! Ops that give back their input as it came, with users of both names.
OpGraph make_identities() {
    GraphBuilder graph("identities");
    const TensorType type = f32({3, 5});
    const ValueId x = graph.add_input("x", type);
    const ValueId w = graph.add_parameter("w", type, uniform);
    const ValueId y = graph.add_op("y", "aten::mul.Tensor", {x, w}, type);
    const ValueId same = graph.add_op("same", "aten::contiguous", {y}, type);
    ValueId sum = y;
    int number = 0;
    for (const ValueId value : {same, y, same, y}) {
        const std::string name = "user" + std::to_string(number++);
        const ValueId wave = graph.add_op(name, "aten::sin", {value}, type);
        sum = graph.add_op(name + ".x", "aten::mul.Tensor", {sum, wave}, type);
    }
    return with_loss(graph, sum);
}

struct Hard {
    std::string name;
    OpGraph (*make)();
};

class HardGraph : public testing::TestWithParam<Hard> {};

TEST_P(HardGraph, has_the_same_gradients_for_every_cut) {
    const OpGraph graph = GetParam().make();
    const std::vector<std::vector<HostTensor>> inputs{
        make_random_inputs(graph, 1)};
    const ChainResult expected = StageChain(graph, {}, 1).train(0, inputs);

    for (std::size_t cut = 1; cut < graph.ops().size(); ++cut) {
        for (std::size_t second = cut + 1; second <= graph.ops().size();
             ++second) {
            std::vector<std::size_t> cuts{cut};
            if (second < graph.ops().size()) {
                cuts.push_back(second);
            }
            const ChainResult actual =
                StageChain(graph, cuts, 1).train(0, inputs);

            EXPECT_EQ(actual.loss, expected.loss);
            for (std::size_t p = 0; p < expected.gradients.size(); ++p) {
                EXPECT_FALSE(expected.gradients[p].bytes.empty());
                EXPECT_TRUE(actual.gradients[p] == expected.gradients[p])
                    << graph.signature().parameters[p].name << ", cuts "
                    << testing::PrintToString(cuts) << '\n'
                    << to_text(graph);
            }
        }
    }
}

TEST_P(HardGraph, has_the_same_gradients_with_recompute) {
    const OpGraph graph = GetParam().make();
    const std::vector<std::vector<HostTensor>> inputs{
        make_random_inputs(graph, 1)};
    const ChainResult expected = StageChain(graph, {}, 1).train(0, inputs);

    for (std::size_t cut = 0; cut < graph.ops().size(); ++cut) {
        const std::vector<std::size_t> cuts(cut > 0 ? 1 : 0, cut);
        const ChainResult actual =
            StageChain(graph, cuts, 1, Recompute::on).train(0, inputs);

        EXPECT_EQ(actual.loss, expected.loss);
        EXPECT_TRUE(actual.gradients == expected.gradients) << "cut " << cut;
    }
}

INSTANTIATE_TEST_SUITE_P(Graphs,
                         HardGraph,
                         testing::Values(Hard{"residual", make_residual},
                                         Hard{"expanded_gradient",
                                              make_expanded_gradient},
                                         Hard{"parts", make_parts},
                                         Hard{"permuted", make_permuted},
                                         Hard{"integers", make_integers},
                                         Hard{"identities", make_identities}),
                         [](const auto& info) { return info.param.name; });

TEST(Stage, relays_a_value_as_it_came) {
    const OpGraph graph = make_residual();
    StageChain chain(graph, {2, 3, 9}, 1);
    const StageSlice& slice = chain.stage(1).slice();
    ASSERT_EQ(slice.inputs.front(), slice.outputs.front());
    std::vector<at::Tensor> inputs;
    for (const ValueId value : slice.inputs) {
        inputs.push_back(at::rand(graph.value(value).type.sizes));
    }

    const auto outputs = chain.stage(1).forward({0, 0}, inputs, {});

    EXPECT_TRUE(at::equal(outputs.front(), inputs.front()));
}

TEST(Stage, counts_each_micro_batch_by_its_part_of_the_step) {
    const OpGraph graph = make_residual();
    const auto inputs = make_random_inputs(graph, 1);
    const ChainResult once = StageChain(graph, {}, 1).train(0, {inputs});

    const ChainResult twice =
        StageChain(graph, {}, 2).train(0, {inputs, inputs});

    EXPECT_EQ(twice.loss, 2 * once.loss);
    EXPECT_EQ(twice.gradients, once.gradients);
}

TEST(Stage, keeps_micro_batches_apart_in_any_order_of_backwards) {
    const OpGraph graph = make_residual();
    StageChain chain(graph, {}, 2);
    Stage& stage = chain.stage(0);
    const auto run = [&](std::uint32_t first, std::uint32_t second) {
        chain.parameters(0).clear_gradients();
        for (std::uint32_t m = 0; m < 2; ++m) {
            stage.forward({0, m},
                          {},
                          {from_host(make_random_inputs(graph, m).front(),
                                     stage.device())});
        }
        stage.backward(first, {});
        stage.backward(second, {});
        return to_host(chain.parameters(0).gradient(0));
    };

    // Two addends: the order of the sum does not show.
    EXPECT_EQ(run(0, 1), run(1, 0));
}

TEST(Stage, forgets_a_micro_batch_after_its_backward) {
    const OpGraph graph = make_residual();
    StageChain chain(graph, {}, 1);
    const at::Tensor x =
        from_host(make_random_inputs(graph, 1).front(), at::Device(at::kCPU));
    const auto uses_before = x.use_count();

    chain.stage(0).forward({0, 0}, {}, {x});
    const auto uses_in_flight = x.use_count();
    chain.stage(0).backward(0, {});

    EXPECT_GT(uses_in_flight, uses_before);
    EXPECT_EQ(x.use_count(), uses_before);
}

OpGraph make_dropout() {
    GraphBuilder builder("dropout");
    const TensorType type = f32({8, 8});
    const ValueId x = builder.add_input("x", type);
    const ValueId w = builder.add_parameter("w", type, uniform);
    const ValueId y = builder.add_op("y", "aten::mul.Tensor", {x, w}, type);
    const ValueId mask =
        builder.add_op("mask", "fusionllm::dropout_mask", {y, 0.5}, type);
    const ValueId z = builder.add_op("z", "aten::mul.Tensor", {y, mask}, type);
    builder.set_output(z);
    return with_loss(builder, z);
}

//! A stage of all ops that counts its masks, and sees whether the first one is
//! still there.
struct WatchedStage {
    explicit WatchedStage(Recompute recompute)
        : graph(make_dropout()),
          slice(make_slice(graph, {0, graph.ops().size()})),
          store(graph, slice.parameter_uses, {1, {}}, at::Device(at::kCPU)),
          buffers(graph, {}, {1, {}}, at::Device(at::kCPU)) {
        StageOptions options;
        options.recompute = recompute;
        options.fill_mask =
            [this](const at::Tensor& mask, std::uint64_t key, double p) {
                fill_mask_by_loop(mask, key, p);
                if (num_masks++ == 0) {
                    first = mask.storage().getWeakStorageImpl();
                }
            };
        stage.emplace(graph, slice, store, buffers, options);
    }

    OpGraph graph;
    StageSlice slice;
    ParameterStore store;
    BufferStore buffers;
    int num_masks = 0;
    c10::weak_intrusive_ptr<c10::StorageImpl> first{
        c10::intrusive_ptr<c10::StorageImpl>()};
    std::optional<Stage> stage;
};

TEST(Stage, keeps_no_activations_with_recompute) {
    for (const Recompute recompute : {Recompute::off, Recompute::on}) {
        WatchedStage watched(recompute);
        const bool is_on = recompute == Recompute::on;

        watched.stage->forward({0, 0}, {}, {at::ones({8, 8})});
        EXPECT_EQ(watched.first.expired(), is_on);
        EXPECT_EQ(watched.num_masks, 1);
        watched.stage->backward(0, {});

        EXPECT_TRUE(watched.first.expired());
        EXPECT_EQ(watched.num_masks, is_on ? 2 : 1);
    }
}

TEST(Stage, reports_the_loss_of_the_last_forward_with_recompute) {
    WatchedStage watched(Recompute::on);
    Stage& stage = *watched.stage;
    stage.forward({0, 0}, {}, {at::ones({8, 8})});
    stage.forward({0, 1}, {}, {at::full({8, 8}, 3.0f)});
    const double loss = stage.loss();

    stage.backward(0, {});

    EXPECT_GT(loss, 0);
    EXPECT_EQ(stage.loss(), loss);
}

TEST(Stage, evaluates_without_dropout_and_gradients) {
    const OpGraph graph = make_dropout();
    StageChain chain(graph, {}, 1);
    const at::Tensor input =
        from_host(make_random_inputs(graph, 1).front(), at::Device(at::kCPU));

    chain.stage(0).evaluate({}, {input});

    const at::Tensor output = chain.stage(0).output();
    EXPECT_FALSE(output.requires_grad());
    EXPECT_TRUE(at::equal(output, input.mul(chain.parameters(0).get(0).value)));
}

TEST(Stage, names_the_op_that_first_made_a_nan) {
    GraphBuilder builder("nan");
    const TensorType type = f32({4});
    const ValueId x = builder.add_input("x", type);
    const ValueId w = builder.add_parameter("w", type, uniform);
    const ValueId y = builder.add_op("y", "aten::mul.Tensor", {x, w}, type);
    const ValueId z = builder.add_op("root", "aten::sqrt", {y}, type);
    const OpGraph graph = with_loss(builder, z);
    ParameterStore store(
        graph,
        make_slice(graph, {0, graph.ops().size()}).parameter_uses,
        {1, {}},
        at::Device(at::kCPU));
    StageOptions options;
    options.check_ops = true;
    BufferStore buffers(graph, {}, {1, {}}, at::Device(at::kCPU));
    Stage stage(graph,
                make_slice(graph, {0, graph.ops().size()}),
                store,
                buffers,
                options);
    const at::Tensor sign = store.get(0).value.sign();

    stage.forward({0, 0}, {}, {sign});
    EXPECT_FALSE(stage.first_bad_op().has_value());
    stage.forward({0, 1}, {}, {sign.neg()});

    EXPECT_EQ(stage.first_bad_op(), "root");
    stage.clear_bad_op();
    EXPECT_FALSE(stage.first_bad_op().has_value());
}

TEST(Stage, refuses_a_graph_with_an_operator_that_does_not_exist) {
    GraphBuilder builder("unknown");
    const ValueId x = builder.add_input("x", f32({2}));
    const ValueId w = builder.add_parameter("w", f32({2}), uniform);
    const OpGraph graph = with_loss(
        builder, builder.add_op("y", "aten::no_such_op", {x, w}, f32({2})));

    EXPECT_THROW(StageChain(graph, {}, 1), InputError);
}

}  // namespace
}  // namespace fusionllm::test
