#include "fusionllm/runtime/step_report.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

StepReport make_report() {
    StepReport report;
    report.loss_sum = 12.5;
    report.has_loss = 1;
    report.stop = StopRequest::requeue;
    report.stage = 3;
    report.squares = {{7, 0.25}, {2, 1e300}};
    report.bad_op = "h.0.attn.softmax";
    report.bad_activation = "boundary value 'x'";
    report.bad_gradient = std::string("zero\0inside", 11);
    report.sent.activations = {128, 1ull << 40, 0};
    report.sent.gradients = {7};
    report.sent.parameter_gradients = {{0, 5}, {47, 1ull << 50}};
    report.links.activations = {0.75, 1ull << 41};
    report.links.gradients = {0.125, 9};
    report.rate_to_next = 1e6;
    report.fences.push_back(
        {57, 91, Direction::backward, 4096, 520, 1e-3, 2e-3, 0.1, 0.99, 2e6});
    report.fences.push_back(
        {57, 92, Direction::forward, 4096, 520, 0, 0, {}, {}, {}});
    report.errors.push_back({57,
                             ValueId(91),
                             Direction::forward,
                             parse_codec_choice("top_k(10,int4)", 1),
                             0.25});
    return report;
}

StepReport at_stage(int stage) {
    StepReport report;
    report.stage = stage;
    return report;
}

//! A step whose loss, of stage 2, is not finite.
std::vector<StepReport> make_bad_step() {
    std::vector<StepReport> reports{at_stage(0), at_stage(1), at_stage(2)};
    reports[2].has_loss = 1;
    reports[2].loss_sum = nan;
    return reports;
}

const std::vector<std::string> names{"a", "b", "c"};

std::string reason_of(const std::vector<StepReport>& reports) {
    const StepDecision decision = decide(reports, names, 2, 1.0);
    EXPECT_EQ(decision.is_skipped, 1);
    EXPECT_EQ(decision.scale, 1);
    return decision.reason;
}

TEST(StepReport, survives_the_way_through_a_message) {
    EXPECT_EQ(unpack_report(pack(make_report())), make_report());
    EXPECT_EQ(unpack_report(pack(StepReport())), StepReport());
}

TEST(StepReport, is_refused_when_it_ends_early) {
    const std::string bytes = pack(make_report());

    for (std::size_t size = 0; size < bytes.size(); ++size) {
        EXPECT_THROW(unpack_report(bytes.substr(0, size)), Error) << size;
    }
}

TEST(StepDecision, survives_the_way_through_a_message) {
    StepDecision decision{1.5, 2.5, 0.125, 1, StopRequest::stop, "the loss"};

    EXPECT_EQ(unpack_decision(pack(decision)), decision);
    decision.fences = {{57, ValueId(91), parse_codec_choice("int4/int3s", 1)}};
    EXPECT_EQ(unpack_decision(pack(decision)), decision);
    decision.fences->clear();
    EXPECT_EQ(unpack_decision(pack(decision)), decision);
    EXPECT_THROW(unpack_decision(pack(decision).substr(0, 20)), Error);
}

TEST(Decide, takes_the_mean_loss_from_the_stage_that_has_it) {
    std::vector<StepReport> reports{at_stage(0), at_stage(1)};
    reports[0].loss_sum = 100;
    reports[1].loss_sum = 6;
    reports[1].has_loss = 1;

    EXPECT_EQ(decide(reports, names, 4, 0).loss, 1.5);
}

TEST(Decide, gives_the_bits_of_the_canonical_order_for_any_order_of_ranks) {
    // Sums of these depend on their order.
    const std::vector<double> squares{1e16, 1, 1e-3, 1, 3e15, 1, 1, 7e-5};
    double expected = 0;
    for (const double square : squares) {
        expected += square;
    }
    std::vector<StepReport> reports;
    for (std::uint32_t p = 0; p < squares.size(); ++p) {
        reports.push_back(at_stage(static_cast<int>(p)));
        reports.back().squares.emplace_back(p, squares[p]);
    }
    std::vector<std::uint64_t> bits;

    for (int rotation = 0; rotation < 8; ++rotation) {
        std::ranges::rotate(reports, reports.begin() + 3);
        bits.push_back(
            std::bit_cast<std::uint64_t>(decide(reports, {}, 1, 0).grad_norm));
    }
    std::ranges::reverse(reports);
    bits.push_back(
        std::bit_cast<std::uint64_t>(decide(reports, {}, 1, 0).grad_norm));

    EXPECT_EQ(bits,
              std::vector<std::uint64_t>(
                  9, std::bit_cast<std::uint64_t>(std::sqrt(expected))));
}

TEST(Decide, scales_gradients_down_to_the_clip_norm_only) {
    StepReport report = at_stage(0);
    report.squares = {{0, 9.0}, {1, 16.0}};

    EXPECT_EQ(decide({report}, names, 1, 0).scale, 1);
    EXPECT_EQ(decide({report}, names, 1, 10).scale, 1);
    EXPECT_DOUBLE_EQ(decide({report}, names, 1, 2).scale, 2 / (5 + 1e-6));
    EXPECT_EQ(decide({report}, names, 1, 2).grad_norm, 5);
}

TEST(Decide, stops_when_any_rank_is_asked_to) {
    std::vector<StepReport> reports{at_stage(0), at_stage(1), at_stage(2)};
    EXPECT_EQ(decide(reports, names, 1, 0).stop, StopRequest::none);

    reports[1].stop = StopRequest::stop;
    EXPECT_EQ(decide(reports, names, 1, 0).stop, StopRequest::stop);

    reports[0].stop = StopRequest::requeue;
    EXPECT_EQ(decide(reports, names, 1, 0).stop, StopRequest::requeue);
}

TEST(Decide, skips_nothing_when_all_is_finite) {
    StepReport report = at_stage(0);
    report.squares = {{0, 1.0}};
    report.bad_activation = "boundary value 'x' that did not matter";

    const StepDecision decision = decide({report}, names, 1, 1);

    EXPECT_EQ(decision.is_skipped, 0);
    EXPECT_EQ(decision.reason, "");
}

TEST(Decide, names_the_first_stage_forwards_when_activations_are_bad) {
    auto reports = make_bad_step();
    reports[2].bad_gradient = "gradient g2";
    reports[1].bad_activation = "boundary value 'late'";
    reports[0].bad_activation = "boundary value 'early'";

    EXPECT_EQ(reason_of(reports), "boundary value 'early' of stage 0");

    std::ranges::reverse(reports);
    EXPECT_EQ(reason_of(reports), "boundary value 'early' of stage 0");
}

TEST(Decide, names_the_op_when_it_was_looked_for) {
    auto reports = make_bad_step();
    reports[0].bad_activation = "boundary value 'x'";
    reports[0].bad_op = "h.0.ln_1";
    reports[1].bad_op = "h.1.ln_1";

    EXPECT_EQ(reason_of(reports), "op 'h.0.ln_1' of stage 0");
}

TEST(Decide, names_the_loss_when_all_before_was_good) {
    auto reports = make_bad_step();
    reports[1].bad_gradient = "gradient g1";

    EXPECT_EQ(reason_of(reports), "the loss");
}

TEST(Decide, names_the_first_stage_backwards_when_gradients_are_bad) {
    std::vector<StepReport> reports{at_stage(0), at_stage(1), at_stage(2)};
    reports[0].squares = {{0, infinity}};
    reports[1].bad_gradient = "gradient of boundary value 'x'";
    reports[2].bad_gradient = "gradient of boundary value 'y'";

    EXPECT_EQ(reason_of(reports), "gradient of boundary value 'y' of stage 2");
}

TEST(Decide, names_the_parameter_when_only_its_gradient_is_bad) {
    std::vector<StepReport> reports{at_stage(1), at_stage(0)};
    reports[0].squares = {{2, nan}};
    reports[1].squares = {{1, infinity}, {0, 1.0}};

    EXPECT_EQ(reason_of(reports), "the gradient of parameter 'b'");
}

TEST(Decide, names_the_sum_when_only_that_overflows) {
    StepReport report = at_stage(0);
    report.squares = {{0, 1e308}, {1, 1e308}};

    EXPECT_EQ(reason_of({report}), "the sum of all squared gradients");
}

}  // namespace
}  // namespace fusionllm::test
