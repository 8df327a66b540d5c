#include "fusionllm/runtime/step_measurements.hpp"

#include <cmath>

#include <gtest/gtest.h>

namespace fusionllm {
namespace {

constexpr double step_s = 10;

//! Two stages on ranks 0 and 1; 600 bytes went there and 60 came back.
std::vector<StepReport> make_reports() {
    std::vector<StepReport> reports(2);
    reports[0].sent.activations = {200, 400};
    reports[1].sent.gradients = {60};
    return reports;
}

StepMeasurements measure(const std::vector<StepReport>& reports) {
    return measurements_of(reports, {0, 1}, step_s);
}

TEST(ArrivalClock, counts_from_a_look_inside_a_message_to_the_next_look) {
    ArrivalClock clock;
    clock.look(1.0, 0, false);
    clock.look(2.0, 100, true);   // who knows since when
    clock.look(4.0, 300, true);   // 200 bytes in 2 s
    clock.look(5.0, 400, false);  // and 100 in 1 s: the message is there
    clock.look(9.0, 900, false);  // another one, seen as a whole

    EXPECT_EQ(clock.take(), (Arrivals{3.0, 300}));
    EXPECT_EQ(clock.take(), Arrivals());
}

TEST(StepMeasurements, take_a_receivers_word_for_the_rate_of_its_link) {
    auto reports = make_reports();
    reports[0].links.forward_busy_s = 9;  // of the sender
    reports[1].links.activations = {2.0, 500};
    reports[0].links.gradients = {1.0, 50};

    const StepMeasurements found = measure(reports);

    EXPECT_EQ(found.forward_bytes_per_s, std::vector<double>{250});
    EXPECT_EQ(found.backward_bytes_per_s, std::vector<double>{50});
}

TEST(StepMeasurements, ask_the_sender_where_messages_come_as_a_whole) {
    auto reports = make_reports();
    reports[0].links.forward_busy_s = 6;
    reports[1].links.backward_busy_s = 3;

    const StepMeasurements found = measure(reports);

    EXPECT_EQ(found.forward_bytes_per_s, std::vector<double>{100});
    EXPECT_TRUE(std::isnan(found.backward_bytes_per_s.at(0)));
}

TEST(StepMeasurements, do_not_tell_a_rate_from_a_glimpse) {
    auto reports = make_reports();
    reports[1].links.activations = {0.4, 100};

    EXPECT_TRUE(std::isnan(measure(reports).forward_bytes_per_s.at(0)));
}

}  // namespace
}  // namespace fusionllm
