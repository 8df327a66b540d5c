#include "fusionllm/exec/op_runner.hpp"

#include <map>
#include <string>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

#include "stage_chain.hpp"

namespace fusionllm::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using Sizes = std::vector<std::int64_t>;

const TensorType row{DType::f32, {4}};

//! A graph of one op and the tensors that it reads, by value.
class OneOp {
public:
    OneOp() : builder_("one") {}

    ValueId input(const at::Tensor& tensor) {
        const ValueId value = builder_.add_input(
            fmt::format("x{}", tensors_.size()), type_of(tensor));
        tensors_.push_back(tensor);
        return value;
    }

    std::vector<at::Tensor> run(const std::string& target,
                                std::vector<Argument> arguments,
                                std::size_t num_outputs,
                                const OpContext& context) {
        builder_.add_op_with_outputs("op",
                                     target,
                                     std::move(arguments),
                                     std::vector<TensorType>(num_outputs, row));
        const OpGraph graph = builder_.build();
        const OpRunner runner(graph, OpId(0), at::Device(at::kCPU));
        // The graph numbers its values anew: inputs come first, in order.
        return runner.run(
            [&](ValueId value) -> const at::Tensor& {
                return tensors_.at(value.get());
            },
            context);
    }

    at::Tensor run(const std::string& target, std::vector<Argument> arguments) {
        return run(target, std::move(arguments), 1, {}).front();
    }

private:
    GraphBuilder builder_;
    std::vector<at::Tensor> tensors_;
};

template <class Exception = InputError, class Function>
std::string message_of(Function function) {
    try {
        function();
    } catch (const Exception& error) {
        return error.what();
    }
    return "no such error";
}

TEST(OpRunner, refuses_an_operator_that_libtorch_does_not_have) {
    OneOp op;
    const ValueId x = op.input(at::ones({4}));

    const std::string message =
        message_of([&] { op.run("aten::no_such_op.Tensor", {x}); });

    EXPECT_EQ(message,
              "op 'op' calls aten::no_such_op.Tensor, but this LibTorch does "
              "not have it");
}

TEST(OpRunner, refuses_too_many_arguments) {
    OneOp op;
    const ValueId x = op.input(at::ones({4}));

    const std::string message = message_of([&] {
        op.run("aten::tanh", {x, 1.0, 2.0});
    });

    EXPECT_EQ(message,
              "op 'op' calls aten::tanh, but this LibTorch takes 1 argument, "
              "not 3");
}

TEST(OpRunner, leaves_out_absent_arguments_that_the_operator_does_not_know) {
    OneOp op;
    const ValueId x = op.input(at::ones({4}));

    const at::Tensor y = op.run("aten::tanh", {x, NoArgument{}, NoArgument{}});

    EXPECT_TRUE(at::equal(y, at::tanh(at::ones({4}))));
}

TEST(OpRunner, takes_a_whole_number_where_an_older_schema_wants_an_int) {
    const at::Tensor x = at::tensor({1.0F, 2.0F, 4.0F});
    const auto run = [&](double dim) {
        OneOp op;
        const ValueId value = op.input(x);
        return op.run("aten::softmax.int", {value, dim});
    };

    EXPECT_TRUE(at::equal(run(0.0), at::softmax(x, 0)));
    EXPECT_EQ(message_of([&] { run(0.5); }),
              "op 'op' calls aten::softmax.int, of which 'dim' is 0.5, but "
              "this LibTorch takes whole numbers there");
}

TEST(OpRunner, refuses_a_missing_argument_and_names_it) {
    OneOp op;
    const ValueId x = op.input(at::ones({4}));

    const std::string message =
        message_of([&] { op.run("aten::mul.Tensor", {x}); });

    EXPECT_EQ(message,
              "op 'op' calls aten::mul.Tensor, but this LibTorch wants 'other' "
              "to be given");
}

TEST(OpRunner, says_so_when_an_op_gives_another_number_of_tensors) {
    OneOp op;
    const ValueId x = op.input(at::ones({4}));

    try {
        op.run("aten::split.Tensor", {x, std::int64_t{2}}, 3, {});
        FAIL() << "no Error";
    } catch (const Error& error) {
        EXPECT_STREQ(error.what(),
                     "op 'op' (aten::split.Tensor) gave 2 tensors, not 3");
    }
}

TEST(OpRunner, names_op_step_and_input_of_an_index_that_is_out_of_range) {
    const auto look_up = [](bool is_training) {
        OneOp one;
        const ValueId table = one.input(at::rand({4, 3}));
        const ValueId tokens = one.input(at::tensor({0, 4}, at::kLong));
        OpContext context;
        context.step = 6;
        context.micro_batch = 2;
        context.is_training = is_training;
        one.run("aten::embedding", {table, tokens}, 1, context);
    };

    const std::string message = message_of([&] { look_up(true); });

    EXPECT_THAT(
        message,
        HasSubstr("op 'op' (aten::embedding) failed in micro-batch 2 of "
                  "step 7: index out of range in self; see that"));
    EXPECT_THAT(message, HasSubstr("'x1'"));
    EXPECT_THAT(message, Not(HasSubstr("\n")));
    EXPECT_THAT(message_of([&] { look_up(false); }),
                HasSubstr("of the evaluation after step 6"));
}

TEST(OpRunner, names_the_op_of_another_failure) {
    OneOp one;
    const ValueId a = one.input(at::rand({2, 3}));
    const ValueId b = one.input(at::rand({2, 3}));

    const std::string message = message_of<Error>([&] {
        one.run("aten::mm", {a, b});
    });

    EXPECT_THAT(message, HasSubstr("op 'op' (aten::mm) failed"));
    EXPECT_THAT(message, Not(HasSubstr("frame")));
}

TEST(OpRunner, fills_in_defaults) {
    OneOp op;
    const ValueId x = op.input(at::ones({4}));
    const ValueId y = op.input(at::ones({4}));

    const at::Tensor sum = op.run("aten::add.Tensor", {x, y});

    EXPECT_TRUE(at::equal(sum, at::full({4}, 2.0f)));
}

TEST(OpRunner, takes_lists_of_values) {
    OneOp op;
    const ValueId x = op.input(at::zeros({1, 2}));
    const ValueId y = op.input(at::ones({1, 2}));

    const at::Tensor joined = op.run(
        "aten::cat", {std::vector<ValueOrNone>{y, x, y}, std::int64_t{0}});

    EXPECT_TRUE(at::equal(joined.select(1, 0), at::tensor({1.0f, 0.0f, 1.0f})));
}

TEST(OpRunner, gives_the_elements_of_a_list_as_dense_outputs) {
    OneOp op;
    const at::Tensor whole = at::arange(10, at::kFloat).view({2, 5});
    const ValueId x = op.input(whole);

    const auto parts = op.run(
        "aten::split.Tensor", {x, std::int64_t{3}, std::int64_t{1}}, 2, {});

    EXPECT_TRUE(at::equal(parts[0], whole.narrow(1, 0, 3)));
    EXPECT_TRUE(at::equal(parts[1], whole.narrow(1, 3, 2)));
    EXPECT_TRUE(parts[0].is_non_overlapping_and_dense());
    EXPECT_TRUE(parts[1].is_non_overlapping_and_dense());
}

TEST(OpRunner, takes_lists_of_values_with_holes) {
    OneOp op;
    const at::Tensor table = at::arange(6, at::kFloat).view({2, 3});
    const ValueId x = op.input(table);
    const ValueId index = op.input(at::tensor({2, 0}, at::kLong));

    const at::Tensor columns =
        op.run("aten::index.Tensor",
               {x, std::vector<ValueOrNone>{NoArgument{}, index}});

    EXPECT_TRUE(
        at::equal(columns, at::tensor({2.0f, 0.0f, 5.0f, 3.0f}).view({2, 2})));
}

TEST(OpRunner, takes_scalars_of_either_kind) {
    OneOp doubles;
    const ValueId x = doubles.input(at::ones({4}));
    OneOp integers;
    const ValueId i = integers.input(at::ones({4}, at::kLong));

    const at::Tensor half = doubles.run("aten::mul.Scalar", {x, 0.5});
    const at::Tensor triple =
        integers.run("aten::mul.Scalar", {i, std::int64_t{3}});

    EXPECT_TRUE(at::equal(half, at::full({4}, 0.5f)));
    EXPECT_TRUE(at::equal(triple, at::full({4}, 3, at::kLong)));
}

TEST(OpRunner, takes_an_integer_where_a_float_is_expected) {
    OneOp op;
    const ValueId x = op.input(at::full({4}, 5.0f));

    // layer_norm's eps is a float.
    const at::Tensor normal = op.run(
        "aten::layer_norm",
        {x, Sizes{4}, NoArgument{}, NoArgument{}, std::int64_t{1}, true});

    EXPECT_TRUE(at::equal(normal, at::zeros({4})));
}

TEST(OpRunner, takes_strings_and_lists_of_numbers_and_flags) {
    OneOp gelu;
    const at::Tensor x = at::linspace(-2, 2, 4);
    const ValueId id = gelu.input(x);
    OneOp roll;
    const ValueId id2 = roll.input(x);

    const at::Tensor smooth = gelu.run("aten::gelu", {id, std::string("tanh")});
    const at::Tensor turned = roll.run("aten::roll", {id2, Sizes{1}, Sizes{0}});

    EXPECT_TRUE(at::equal(smooth, at::gelu(x, "tanh")));
    EXPECT_TRUE(at::equal(turned, at::roll(x, {1}, {0})));
}

TEST(OpRunner, takes_dtypes) {
    OneOp op;
    const ValueId x = op.input(at::full({4}, 2.75f));

    const at::Tensor integers =
        op.run("aten::to.dtype", {x, DType::i32, false, false, NoArgument{}});

    EXPECT_TRUE(at::equal(integers, at::full({4}, 2, at::kInt)));
}

TEST(OpRunner, makes_the_tensors_of_factories) {
    const at::Tensor ones =
        OneOp().run("aten::ones", {Sizes{2, 3}, DType::boolean});
    const at::Tensor range =
        OneOp().run("aten::arange", {std::int64_t{4}, DType::i64});

    EXPECT_TRUE(at::equal(ones, at::ones({2, 3}, at::kBool)));
    EXPECT_TRUE(at::equal(range, at::arange(4, at::kLong)));
}

TEST(OpRunner, draws_a_mask_from_seed_step_micro_batch_and_name) {
    const at::Tensor like = at::empty({5, 7});
    const FillMask fill = fill_mask_by_loop;
    OpContext context;
    context.seed = 11;
    context.step = 22;
    context.micro_batch = 3;
    context.fill_mask = &fill;
    at::Tensor expected = at::empty({5, 7});
    fill_mask_by_loop(expected,
                      derive_key(derive_key(derive_key(11, std::uint64_t{22}),
                                            std::uint64_t{3}),
                                 "op"),
                      0.25);
    OneOp op;
    const ValueId x = op.input(like);

    const auto masks = op.run("fusionllm::dropout_mask", {x, 0.25}, 1, context);

    EXPECT_TRUE(at::equal(masks.front(), expected));
    EXPECT_FALSE(masks.front().requires_grad());
}

TEST(OpRunner, draws_other_masks_in_other_micro_batches_and_steps) {
    const FillMask fill = fill_mask_by_loop;
    const auto draw = [&](std::uint64_t step, std::uint32_t micro_batch) {
        OpContext context;
        context.step = step;
        context.micro_batch = micro_batch;
        context.fill_mask = &fill;
        OneOp op;
        const ValueId x = op.input(at::empty({64}));
        return op.run("fusionllm::dropout_mask", {x, 0.5}, 1, context).front();
    };

    EXPECT_TRUE(at::equal(draw(1, 2), draw(1, 2)));
    EXPECT_FALSE(at::equal(draw(1, 2), draw(2, 1)));
    EXPECT_FALSE(at::equal(draw(1, 2), draw(1, 3)));
}

TEST(OpRunner, seeds_random_ops_by_step_and_micro_batch) {
    const auto draw = [](std::uint64_t step, std::uint32_t micro_batch) {
        OpContext context;
        context.step = step;
        context.micro_batch = micro_batch;
        OneOp op;
        const ValueId x = op.input(at::zeros({4}));
        return op.run("aten::rand_like", {x}, 1, context).front();
    };

    EXPECT_TRUE(draw(1, 0).equal(draw(1, 0)));
    EXPECT_FALSE(draw(1, 0).equal(draw(2, 0)));
    EXPECT_FALSE(draw(1, 0).equal(draw(1, 1)));
}

TEST(OpRunner, masks_nothing_in_evaluation) {
    OpContext context;
    context.is_training = false;
    OneOp op;
    const ValueId x = op.input(at::empty({3, 2}, at::kDouble));

    const auto masks = op.run("fusionllm::dropout_mask", {x, 0.5}, 1, context);

    EXPECT_TRUE(at::equal(masks.front(), at::ones({3, 2}, at::kDouble)));
}

}  // namespace
}  // namespace fusionllm::test
