#include "fusionllm/runtime/basis_schedule.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace fusionllm {
namespace {

std::vector<std::uint64_t> due_steps(const BasisSchedule& bases,
                                     std::uint64_t end) {
    std::vector<std::uint64_t> steps;
    for (std::uint64_t step = 0; step < end; ++step) {
        if (bases.is_due(step)) {
            steps.push_back(step);
        }
    }
    return steps;
}

using Steps = std::vector<std::uint64_t>;

TEST(BasisSchedule, has_many_bases_at_first_and_then_one_in_so_many_steps) {
    EXPECT_EQ(due_steps({10}, 41), (Steps{0, 1, 2, 4, 8, 10, 20, 30, 40}));
    EXPECT_EQ(due_steps({1}, 3), (Steps{0, 1, 2}));
    EXPECT_EQ(due_steps({2}, 6), (Steps{0, 1, 2, 4}));
}

TEST(BasisSchedule, counts_the_bases_of_a_run_that_goes_on) {
    const BasisSchedule bases{10};

    EXPECT_EQ(bases.count(0, 41), 9);
    EXPECT_EQ(bases.count(3, 11), 3);
    EXPECT_EQ(bases.count(11, 20), 0);
}

}  // namespace
}  // namespace fusionllm
