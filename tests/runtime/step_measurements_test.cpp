#include "fusionllm/runtime/step_measurements.hpp"

#include <gtest/gtest.h>

namespace fusionllm {
namespace {

constexpr double step_s = 10;

//! Of two stages on ranks 0 and 1.
StepMeasurements measure(const std::vector<StepReport>& reports) {
    return measurements_of(reports, {0, 1}, step_s);
}

TEST(ArrivalClock, counts_what_comes_between_looks_inside_a_message) {
    ArrivalClock clock;
    clock.look(1.0, 0, false);
    clock.look(2.0, 100, true);   // who knows since when
    clock.look(4.0, 300, true);   // 200 bytes in 2 s
    clock.look(4.5, 350, true);   // 50 in 0.5 s
    clock.look(9.0, 400, false);  // the rest, who knows when it came
    clock.look(9.5, 900, false);  // another one, seen as a whole

    EXPECT_EQ(clock.take(), (Arrivals{2.5, 250}));
    EXPECT_EQ(clock.take(), Arrivals());
}

TEST(StepMeasurements, say_what_was_seen_and_what_was_tried_of_each_link) {
    std::vector<StepReport> reports(2);
    reports[0].rate_to_next = 300;
    reports[0].links.gradients = {1.0, 50};
    reports[1].links.activations = {2.0, 500};

    const StepMeasurements found = measure(reports);

    EXPECT_EQ(found.forward, (std::vector<LinkFindings>{{300, 250}}));
    EXPECT_EQ(found.backward, (std::vector<LinkFindings>{{{}, 50}}));
}

TEST(StepMeasurements, do_not_tell_a_rate_from_a_glimpse) {
    std::vector<StepReport> reports(2);
    reports[1].links.activations = {0.4, 100};

    EXPECT_EQ(measure(reports).forward.at(0), LinkFindings());
}

}  // namespace
}  // namespace fusionllm
