// Links that are known are found again, on a clock that the test moves.

#include "fusionllm/comm/probe.hpp"

#include <mutex>
#include <set>

#include <gtest/gtest.h>

#include "fusionllm/comm/loopback.hpp"
#include "fusionllm/comm/shaped_transport.hpp"
#include "fusionllm/util/timing.hpp"

namespace fusionllm::test {
namespace {

constexpr double megabit = 125e3;

TEST(Probe, meets_every_pair_once_and_nobody_twice_in_a_round) {
    for (int num = 2; num <= 9; ++num) {
        std::set<std::pair<int, int>> met;
        const auto rounds = make_rounds(num);
        for (const auto& pairs : rounds) {
            std::set<int> busy;
            for (const auto& [a, b] : pairs) {
                EXPECT_LT(a, b);
                EXPECT_TRUE(busy.insert(a).second && busy.insert(b).second);
                EXPECT_TRUE(met.emplace(a, b).second);
            }
        }
        EXPECT_EQ(met.size(), static_cast<std::size_t>(num * (num - 1) / 2));
        EXPECT_EQ(rounds.size(), static_cast<std::size_t>(num - 1 + num % 2));
    }
}

std::vector<TimedSize> times_of(double latency_s,
                                double bytes_per_s,
                                double eager_bytes,
                                double rendezvous_s) {
    std::vector<TimedSize> times;
    for (double n = 1024; n <= 4 << 20; n *= 2) {
        times.push_back({n,
                         latency_s + n / bytes_per_s +
                             (n > eager_bytes ? rendezvous_s : 0)});
    }
    return times;
}

TEST(Probe, fits_a_line) {
    const MeasuredLink link = fit_link(1e-3, times_of(1e-3, 1e7, 1e9, 0));

    EXPECT_NEAR(link.bytes_per_s, 1e7, 1);
    EXPECT_EQ(link.rendezvous_s, 0);
    EXPECT_NEAR(link.error, 0, 1e-9);
}

TEST(Probe, finds_where_a_library_begins_to_ask_first) {
    const MeasuredLink link = fit_link(0.02, times_of(0.02, 1e7, 65536, 0.04));

    EXPECT_EQ(link.eager_bytes, 65536u);
    EXPECT_NEAR(link.rendezvous_s, 0.04, 1e-6);
    EXPECT_NEAR(link.bytes_per_s, 1e7, 10);
}

TEST(Probe, takes_no_disturbance_for_a_rendezvous) {
    auto late = times_of(1e-5, 5e9, 524288, 1e-3);
    EXPECT_EQ(fit_link(1e-5, late).rendezvous_s, 0);

    auto noisy = times_of(1e-5, 5e9, 65536, 1e-4);
    for (std::size_t i = 0; i < noisy.size(); ++i) {
        noisy[i].seconds *= i % 2 == 0 ? 1.3 : 0.7;
    }
    EXPECT_EQ(fit_link(1e-5, noisy).rendezvous_s, 0);
}

TEST(Probe, says_how_far_single_messages_are_from_the_line) {
    auto times = times_of(1e-3, 1e7, 1e9, 0);
    for (std::size_t i = 0; i < times.size(); ++i) {
        times[i].seconds *= i % 2 == 0 ? 1.3 : 0.7;
    }

    EXPECT_GT(fit_link(1e-3, times).error, 0.1);
    EXPECT_LT(fit_link(1e-3, times).error, 0.6);
}

//! A line of 8 Mbit/s and 10 ms, as its sender sees it.
class Line {
public:
    double bucket_bytes = 0;     //!< go at once after a pause
    int num_lossy = 0;           //!< streams that lose a packet
    double noise = 0;            //!< share by which times are longer
    std::vector<double> passed;  //!< sizes of streams
    LinkTrial trial() {
        return {[this](std::size_t bytes) { return arrival_s(bytes); },
                [this](std::size_t bytes, int num) {
                    return stream_s(static_cast<double>(bytes), num);
                }};
    }

private:
    double arrival_s(double bytes) {
        turn_ = (turn_ + 3) % 7;
        const double factor = 1 + noise * turn_ / 7;
        return 0.02 + factor * std::max(bytes - bucket_bytes, 0.0) / megabyte;
    }
    std::vector<double> stream_s(double bytes, int num) {
        passed.push_back(bytes * num);
        std::vector<double> times_s;
        const bool is_lossy = num_lossy-- > 0;
        const double lost_s =
            arrival_s(bytes * num / 2) + 0.2 * (1 + num_lossy);
        for (int i = 1; i <= num; ++i) {
            const double on_time_s = arrival_s(bytes * i);
            // What is behind the lost packet comes all at once.
            times_s.push_back(is_lossy && i > 1 ? std::max(lost_s, on_time_s)
                                                : on_time_s);
        }
        return times_s;
    }
    static constexpr double megabyte = 1e6;
    int turn_ = 0;
};

TEST(Probe, is_not_misled_by_what_a_line_lets_through_after_a_pause) {
    Line line;
    line.bucket_bytes = 6000;

    const MeasuredLink link = measure_link(line.trial(), ProbeLimits{});

    EXPECT_NEAR(link.bytes_per_s, 1e6, 0.05e6);
    EXPECT_LT(link.error, 0.1);
}

TEST(Probe, takes_the_fastest_stream_where_packets_are_lost) {
    Line line;
    line.num_lossy = 2;

    const MeasuredLink link = measure_link(line.trial(), ProbeLimits{});

    EXPECT_NEAR(link.bytes_per_s, 1e6, 0.01e6);
    EXPECT_EQ(line.passed.size(), 4u);
}

TEST(Probe, is_content_with_two_streams_that_agree) {
    Line line;

    measure_link(line.trial(), ProbeLimits{});

    EXPECT_EQ(line.passed.size(), 2u);
}

TEST(Probe, says_how_far_it_can_be_trusted) {
    std::vector<double> errors;
    for (const double noise : {0.0, 0.2, 1.0}) {
        Line line;
        line.noise = noise;
        errors.push_back(measure_link(line.trial(), ProbeLimits{}).error);
    }

    EXPECT_LT(errors[0], 0.001);
    EXPECT_GT(errors[1], 0.01);
    EXPECT_GT(errors[2], 0.1);
}

//! Two ranks of one thread, and what exchanges between them cost.
class ShapedPair {
public:
    ShapedPair(ShapedPath there, ShapedPath back) {
        ShapedLinks links;
        links.num_ranks = 2;
        links.paths = {{}, std::move(there), std::move(back), {}};
        const auto shared =
            share_links(std::move(links), [this] { return now_s_; });
        for (const auto& inner : inner_) {
            ranks_.push_back(std::make_unique<ShapedTransport>(*inner, shared));
        }
    }

    LinkTrial trial() {
        return {[this](std::size_t bytes) { return stream_s(bytes, 1)[0]; },
                [this](std::size_t bytes, int num) {
                    return stream_s(bytes, num);
                }};
    }
    double now_s() const { return now_s_; }
    double sent_bytes() const { return ranks_[0]->sent_bytes(1); }

private:
    std::vector<double> stream_s(std::size_t num_bytes, int num) {
        constexpr Channel channel{MessageKind::activation, 0};
        const double begin_s = now_s_;
        std::vector<Request> messages;
        std::vector<Request> answers;
        std::vector<Request> sent;
        for (int i = 0; i < num; ++i) {
            messages.push_back(ranks_[1]->receive(0, channel, num_bytes));
            answers.push_back(ranks_[0]->receive(1, channel, 8));
            sent.push_back(ranks_[0]->send(1, channel, Buffer(num_bytes)));
        }
        std::vector<double> times_s;
        std::size_t num_answered = 0;
        while (times_s.size() < answers.size()) {
            now_s_ += 1e-5;
            if (num_answered < messages.size() &&
                messages[num_answered].test()) {
                ++num_answered;
                sent.push_back(ranks_[1]->send(0, channel, Buffer(8)));
            }
            if (answers[times_s.size()].test()) {
                times_s.push_back(now_s_ - begin_s);
            }
        }
        for (Request& request : sent) {
            while (!request.test()) {
                now_s_ += 1e-5;
            }
        }
        return times_s;
    }

    double now_s_ = 0;
    std::vector<std::unique_ptr<Transport>> inner_ = make_loopback(2);
    std::vector<std::unique_ptr<ShapedTransport>> ranks_;
};

TEST(Probe, finds_known_links_within_a_tenth) {
    for (const double latency_s : {0.002, 0.02, 0.12}) {
        for (const double rate : {8 * megabit, 100 * megabit, 1e3 * megabit}) {
            ShapedPair pair({latency_s, rate, {}},
                            {latency_s, 20 * megabit, {}});

            const MeasuredLink link = measure_link(pair.trial(), ProbeLimits{});

            EXPECT_NEAR(link.latency_s, latency_s, 0.1 * latency_s);
            EXPECT_NEAR(link.bytes_per_s, rate, 0.1 * rate);
            EXPECT_LT(link.error, 0.1);
        }
    }
}

TEST(Probe, costs_a_slow_link_seconds_and_a_megabyte) {
    ShapedPair pair({0.01, 8 * megabit, {}}, {0.01, 8 * megabit, {}});

    measure_link(pair.trial(), ProbeLimits{});

    EXPECT_LT(pair.sent_bytes(), 1.5e6);
    EXPECT_LT(pair.now_s(), 4);
}

TEST(Probe, measures_every_direction_between_representatives) {
    std::vector<MeasuredLink> found;

    run_loopback(4, [&](Transport& transport) {
        ProbeLimits limits;
        limits.largest_bytes = 4096;
        limits.repeats = 1;
        const auto mine = probe(
            transport, {{{0, 1}}, {{0, 3}}, {{1, 3}}}, limits, monotonic_s, {});
        if (transport.rank() == 0) {
            found = mine;
        } else {
            EXPECT_TRUE(mine.empty());
        }
    });

    std::vector<std::pair<int, int>> ends;
    for (const MeasuredLink& link : found) {
        ends.emplace_back(link.from, link.to);
        EXPECT_GT(link.bytes_per_s, 0);
    }
    const std::vector<std::pair<int, int>> all{
        {0, 1}, {0, 3}, {1, 0}, {1, 3}, {3, 0}, {3, 1}};
    EXPECT_EQ(ends, all);
}

//! What is said of a link, on a clock that goes on whenever it is looked at.
std::vector<ProbeWait> waits_of_probe(double after_s) {
    std::mutex mutex;
    std::vector<ProbeWait> waits;
    run_loopback(2, [&](Transport& transport) {
        ProbeLimits limits;
        limits.largest_bytes = 4096;
        limits.repeats = 1;
        double now_s = 0;
        probe(transport,
              {{{0, 1}}},
              limits,
              [&] { return now_s += 0.01; },
              {after_s, [&](const ProbeWait& wait) {
                   const std::lock_guard lock(mutex);
                   EXPECT_EQ(wait.rank, transport.rank());
                   waits.push_back(wait);
               }});
    });
    return waits;
}

TEST(Probe, says_for_which_link_it_waits_long) {
    const std::vector<ProbeWait> waits = waits_of_probe(0.01);

    std::set<std::pair<int, int>> links;
    for (const ProbeWait& wait : waits) {
        links.emplace(wait.from, wait.to);
        EXPECT_GE(wait.waited_s, wait.rank == wait.from ? 0.0099 : 0.0199);
    }
    EXPECT_EQ(links, (std::set<std::pair<int, int>>{{0, 1}, {1, 0}}));
}

TEST(Probe, says_nothing_of_waits_if_it_shall_not) {
    EXPECT_EQ(waits_of_probe(0), std::vector<ProbeWait>());
    EXPECT_EQ(waits_of_probe(1e9), std::vector<ProbeWait>());
}

}  // namespace
}  // namespace fusionllm::test
