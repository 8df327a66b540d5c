#include "fusionllm/util/timing.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fusionllm::test {
namespace {

using testing::ElementsAre;

TEST(SectionTimerTest, adds_up_the_scopes_of_a_name) {
    double now = 100.0;
    SectionTimer timer([&] { return now; });

    for (const double seconds : {1.0, 2.0}) {
        const auto scope = timer.measure("forward");
        now += seconds;
    }
    now += 50.0;

    EXPECT_THAT(timer.sections(), ElementsAre(Section{"forward", 3.0, 2}));
}

TEST(SectionTimerTest, counts_an_inner_scope_in_both) {
    double now = 0.0;
    SectionTimer timer([&] { return now; });

    {
        const auto outer = timer.measure("forward");
        now += 1.0;
        const auto inner = timer.measure("encode");
        now += 2.0;
    }

    EXPECT_THAT(
        timer.sections(),
        ElementsAre(Section{"forward", 3.0, 1}, Section{"encode", 2.0, 1}));
}

TEST(SectionTimerTest, merges_by_name) {
    SectionTimer timer;
    timer.add("wait", 1.0);
    timer.add("update", 2.0);
    SectionTimer other;
    other.add("backward", 4.0);
    other.add("wait", 8.0);
    other.add("wait", 16.0);

    timer.merge(other);

    EXPECT_THAT(timer.sections(),
                ElementsAre(Section{"wait", 25.0, 3},
                            Section{"update", 2.0, 1},
                            Section{"backward", 4.0, 1}));
}

TEST(SectionTimerTest, the_default_clock_does_not_go_back) {
    const double before = monotonic_s();

    EXPECT_GE(monotonic_s(), before);
}

TEST(ProcessBegin, was_a_short_while_ago_and_stays_where_it_is) {
    const double first = process_begin_s();
    const double second = process_begin_s();

    EXPECT_LT(first, monotonic_s() + 0.02);
    EXPECT_GT(first, monotonic_s() - 3600);
    EXPECT_NEAR(first, second, 0.02);
}

}  // namespace
}  // namespace fusionllm::test
