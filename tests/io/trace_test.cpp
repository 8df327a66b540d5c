#include "fusionllm/io/trace.hpp"

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "message_of.hpp"

namespace fusionllm::test {
namespace {

TEST(TraceOptions, trace_nothing_unless_values_are_named) {
    const TraceOptions options;

    EXPECT_FALSE(is_traced_step(options, 1));
    EXPECT_FALSE(is_traced(options, "h.0.mlp.residual", 1, 0));
}

TEST(TraceOptions, take_one_step_of_every_so_many) {
    TraceOptions options;
    options.values = {"all"};

    EXPECT_TRUE(is_traced_step(options, 1));
    EXPECT_FALSE(is_traced_step(options, 2));
    EXPECT_FALSE(is_traced_step(options, 100));
    EXPECT_TRUE(is_traced_step(options, 101));
}

TEST(TraceOptions, count_steps_from_the_first_of_the_range) {
    TraceOptions options;
    options.values = {"all"};
    options.steps = {10, 16};
    options.every = 3;

    std::vector<std::int64_t> traced;
    for (std::int64_t step = 1; step < 30; ++step) {
        if (is_traced_step(options, step)) {
            traced.push_back(step);
        }
    }

    EXPECT_EQ(traced, (std::vector<std::int64_t>{10, 13, 16}));
}

TEST(TraceOptions, take_the_first_micro_batches) {
    TraceOptions options;
    options.values = {"all"};
    options.micro_batches = 2;

    EXPECT_TRUE(is_traced(options, "x", 1, 0));
    EXPECT_TRUE(is_traced(options, "x", 1, 1));
    EXPECT_FALSE(is_traced(options, "x", 1, 2));
    EXPECT_FALSE(is_traced(options, "x", 2, 0));
}

TEST(TraceOptions, name_values_or_blocks_of_them) {
    TraceOptions options;
    options.values = {"h.1", "wpe.flat"};

    EXPECT_TRUE(is_traced(options, "h.1.mlp.residual", 1, 0));
    EXPECT_TRUE(is_traced(options, "wpe.flat", 1, 0));
    EXPECT_FALSE(is_traced(options, "h.10.mlp.residual", 1, 0));
    EXPECT_FALSE(is_traced(options, "h.2.mlp.residual", 1, 0));
    EXPECT_FALSE(is_traced(options, "wpe", 1, 0));
}

TEST(TraceOptions, refuse_a_value_that_crosses_nowhere) {
    TraceOptions options;
    const std::vector<std::string> names{"h.0.mlp.residual",
                                         "h.1.mlp.residual"};

    options.values = {"h.0", "all"};
    EXPECT_NO_THROW(check_trace_values(options, names));
    options.values = {"h.1.mpl.residual"};
    EXPECT_EQ(
        message_of<InputError>([&] { check_trace_values(options, names); }),
        "no value named 'h.1.mpl.residual' crosses from a stage to the next, "
        "so it cannot be traced; did you mean 'h.1.mlp.residual'?; there are: "
        "h.0.mlp.residual, h.1.mlp.residual");
}

TEST(TraceFile, is_one_of_each_stage) {
    TraceOptions options;

    EXPECT_EQ(trace_file(options, "/out", 2), "/out/traces/trace-stage-2.h5");
    options.file = "/disk/acts.hdf5";
    EXPECT_EQ(trace_file(options, "/out", 0), "/disk/acts-stage-0.hdf5");
}

}  // namespace
}  // namespace fusionllm::test
