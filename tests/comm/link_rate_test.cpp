#include "fusionllm/comm/link_rate.hpp"

#include <algorithm>

#include <gtest/gtest.h>

namespace fusionllm::test {
namespace {

//! A line as its sender sees it.
struct Line {
    double bytes_per_s = 1e6;
    double latency_s = 0.05;
    double bucket_bytes = 0;  //!< go at once after a pause
    //! By which the answers of the next streams are late: first, last.
    std::vector<std::pair<double, double>> late_s{};
    std::vector<double> lasted_s{};  //!< streams, with the latency

    LinkTrial trial() {
        return {
            {}, [this](std::size_t bytes, int num) {
                std::vector<double> times_s;
                for (int i = 1; i <= num; ++i) {
                    const double on_line = std::max(
                        i * static_cast<double>(bytes) - bucket_bytes, 0.0);
                    times_s.push_back(2 * latency_s + on_line / bytes_per_s);
                }
                if (!late_s.empty()) {
                    times_s.front() += late_s.back().first;
                    times_s.back() += late_s.back().second;
                    late_s.pop_back();
                }
                lasted_s.push_back(times_s.back());
                return times_s;
            }};
    }
};

TEST(LinkRate, is_found_of_fast_and_slow_lines_from_any_size) {
    for (const double rate : {2e5, 1e6, 1e7, 1.25e9}) {
        for (const std::size_t bytes : {std::size_t{0}, std::size_t{1} << 20}) {
            Line line{.bytes_per_s = rate};

            const LinkRate found =
                measure_rate(line.trial(), RateLimits(), bytes);

            EXPECT_NEAR(found.bytes_per_s, rate, 0.001 * rate);
        }
    }
}

TEST(LinkRate, of_a_line_that_lets_short_messages_pass_is_found) {
    Line line{.bucket_bytes = 6000};

    const LinkRate found = measure_rate(line.trial(), RateLimits(), 0);

    EXPECT_NEAR(found.bytes_per_s, 1e6, 0.1e6);
}

TEST(LinkRate, is_that_of_streams_that_agree) {
    Line line{.late_s = {{0.01, 0}, {0, 0.03}}};

    const LinkRate found = measure_rate(line.trial(), RateLimits(), 8192);

    EXPECT_NEAR(found.bytes_per_s, 1e6, 0.001e6);
    EXPECT_EQ(line.lasted_s.size(), 4U);
}

TEST(LinkRate, costs_two_streams_where_the_size_is_known) {
    Line line;
    const std::size_t bytes =
        measure_rate(line.trial(), RateLimits(), 0).message_bytes;
    line.lasted_s.clear();

    measure_rate(line.trial(), RateLimits(), bytes);

    ASSERT_EQ(line.lasted_s.size(), 2U);
    for (const double s : line.lasted_s) {
        EXPECT_LT(s, 2 * line.latency_s + 2 * RateLimits().stream_s);
    }
}

TEST(LinkRate, costs_a_single_stream_where_the_line_got_far_slower) {
    Line line{.bytes_per_s = 1e5};
    const LinkRate found = measure_rate(line.trial(), RateLimits(), 8192);

    EXPECT_EQ(line.lasted_s.size(), 1U);
    EXPECT_NEAR(found.bytes_per_s, 1e5, 1);
    EXPECT_EQ(found.message_bytes, RateLimits().least_bytes);
}

}  // namespace
}  // namespace fusionllm::test
