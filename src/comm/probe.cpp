#include "fusionllm/comm/probe.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "fusionllm/comm/collectives.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

constexpr int root = 0;
constexpr std::uint32_t barrier_slot = 32;
constexpr std::uint32_t result_slot = 33;
// No values travel during a probe.
constexpr TrialChannels channels{{MessageKind::activation, 0},
                                 {MessageKind::gradient, 0}};
constexpr std::size_t smallest_bytes = 8;
constexpr std::size_t most_eager_bytes = std::size_t{256} << 10;
constexpr double least_s_per_byte = 1e-15;

struct Line {
    double at_zero_s = 0;
    double s_per_byte = 0;
};

//! Least squares of relative errors.
Line fit_line(std::span<const TimedSize> times) {
    double w = 0;
    double wx = 0;
    double wy = 0;
    double wxx = 0;
    double wxy = 0;
    for (const TimedSize& time : times) {
        const double weight = 1 / (time.seconds * time.seconds);
        w += weight;
        wx += weight * time.bytes;
        wy += weight * time.seconds;
        wxx += weight * time.bytes * time.bytes;
        wxy += weight * time.bytes * time.seconds;
    }
    const double det = w * wxx - wx * wx;
    if (times.size() < 2 || det <= 0) {
        return {0, times.back().seconds / times.back().bytes};
    }
    return {(wy * wxx - wx * wxy) / det, (w * wxy - wx * wy) / det};
}

//! Of the line that has this value at zero.
double slope_through(double at_zero_s, std::span<const TimedSize> times) {
    double wxy = 0;
    double wxx = 0;
    for (const TimedSize& time : times) {
        const double weight = 1 / (time.seconds * time.seconds);
        wxy += weight * time.bytes * (time.seconds - at_zero_s);
        wxx += weight * time.bytes * time.bytes;
    }
    return std::max(wxy / wxx, least_s_per_byte);
}

//! Of a message, without its bytes.
double delay_s(const MeasuredLink& link, double bytes) {
    const bool has_step =
        link.rendezvous_s > 0 && bytes > static_cast<double>(link.eager_bytes);
    return link.latency_s + (has_step ? link.rendezvous_s : 0);
}

double model_s(const MeasuredLink& link, double bytes) {
    return delay_s(link, bytes) + bytes / link.bytes_per_s;
}

//! By time: short messages matter little, and a line's token bucket lets them
//! through as if they were nothing.
double mean_error(const MeasuredLink& link, std::span<const TimedSize> times) {
    double difference_s = 0;
    double sum_s = 0;
    for (const TimedSize& time : times) {
        difference_s += std::abs(model_s(link, time.bytes) - time.seconds);
        sum_s += time.seconds;
    }
    return difference_s / sum_s;
}

//! Of errors with their weights.
double weighted_median(std::vector<std::pair<double, double>> values) {
    std::ranges::sort(values);
    double sum = 0;
    for (const auto& value : values) {
        sum += value.second;
    }
    double before = 0;
    for (const auto& [value, weight] : values) {
        before += weight;
        if (2 * before >= sum) {
            return value;
        }
    }
    return values.back().first;
}

//! Half of all that was measured is as near to the model.
double median_error(const MeasuredLink& link,
                    std::span<const TimedSize> times,
                    std::span<const TimedSize> streams) {
    std::vector<std::pair<double, double>> errors;
    const auto add = [&](const TimedSize& time, double expected_s) {
        errors.emplace_back(std::abs(expected_s / time.seconds - 1),
                            time.seconds);
    };
    for (const TimedSize& time : times) {
        add(time, model_s(link, time.bytes));
    }
    for (const TimedSize& stream : streams) {
        add(stream, stream.bytes / link.bytes_per_s);
    }
    return weighted_median(std::move(errors));
}

//! The part of the stream, from its beginning, that was fastest. One that
//! began later could be what a lost packet had held back.
TimedSize fastest_part(std::span<const double> times_s,
                       double bytes,
                       double delay_s) {
    TimedSize best;
    for (std::size_t i = 3 * times_s.size() / 4; i < times_s.size(); ++i) {
        const TimedSize part{static_cast<double>(i + 1) * bytes,
                             std::max(times_s[i] - delay_s, 1e-9)};
        if (best.bytes / part.bytes * part.seconds <= best.seconds) {
            best = part;
        }
    }
    return best;
}

double rate_of(const TimedSize& time) {
    return time.bytes / time.seconds;
}

struct SingleMessages {
    std::vector<TimedSize> best;  //!< of every size
    std::vector<TimedSize> all;
};

//! Of sizes that double, until one takes half of what the largest may, without
//! what it took to be asked for.
SingleMessages time_single(const LinkTrial& trial,
                           const ProbeLimits& limits,
                           double latency_s) {
    SingleMessages times;
    const auto exchange_s = [&](std::size_t bytes) {
        const double s = std::max(trial.exchange_s(bytes) - latency_s, 1e-9);
        times.all.push_back({static_cast<double>(bytes), s});
        return s;
    };
    double before_s = std::numeric_limits<double>::infinity();
    double step_s = 0;
    for (std::size_t n = 1024; n <= limits.largest_bytes; n *= 2) {
        double best_s = exchange_s(n);
        const int more =
            best_s < limits.largest_s / 10 ? limits.repeats - 1 : 1;
        for (int i = 0; i < more; ++i) {
            best_s = std::min(best_s, exchange_s(n));
        }
        times.best.push_back({static_cast<double>(n), best_s});
        const double sent_s = best_s - latency_s;
        if (sent_s > 2.5 * before_s) {
            step_s = sent_s - 2 * before_s;
        } else if (sent_s < before_s) {
            step_s = 0;  // something held the smaller one up
        }
        if (n > 1024 && sent_s - step_s > limits.largest_s / 2) {
            break;
        }
        before_s = sent_s;
    }
    return times;
}

//! The largest size that takes a quarter of what the largest message may.
double streamed_bytes(const MeasuredLink& link,
                      std::span<const TimedSize> times,
                      const ProbeLimits& limits) {
    double bytes = times.front().bytes;
    for (const TimedSize& time : times) {
        if (time.seconds - delay_s(link, time.bytes) < limits.largest_s / 4) {
            bytes = std::max(bytes, time.bytes);
        }
    }
    return bytes;
}

//! Until the two fastest agree.
std::vector<TimedSize> time_streams(const LinkTrial& trial,
                                    const ProbeLimits& limits,
                                    std::size_t bytes,
                                    double delay_s) {
    constexpr double agreement = 0.03;
    std::vector<TimedSize> streams;
    while (std::cmp_less(streams.size(), limits.most_streams)) {
        streams.push_back(
            fastest_part(trial.stream_s(bytes, limits.num_streamed),
                         static_cast<double>(bytes),
                         delay_s));
        std::ranges::sort(streams, std::greater<>(), rate_of);
        if (streams.size() > 1 &&
            rate_of(streams[1]) > (1 - agreement) * rate_of(streams[0])) {
            break;
        }
    }
    return streams;
}

//! Spins, and says for whom if that takes long.
class WatchedSpin {
public:
    WatchedSpin(const ProbeNotices& notices,
                double after_s,
                const std::function<double()>& clock,
                const ProbeWait& wait)
        : notices_(notices), after_s_(after_s), clock_(clock), wait_(wait) {}

    void operator()(bool has_progress) {
        spin(has_progress);
        if (after_s_ <= 0) {
            return;
        }
        const double now_s = clock_();
        if (has_progress || !since_s_) {
            since_s_ = now_s;
            say_at_s_ = now_s + after_s_;
        } else if (now_s >= say_at_s_) {
            wait_.waited_s = now_s - *since_s_;
            say_at_s_ = now_s + wait_.waited_s;
            notices_.say(wait_);
        }
    }

private:
    const ProbeNotices& notices_;
    double after_s_;
    const std::function<double()>& clock_;
    ProbeWait wait_;
    std::optional<double> since_s_;
    double say_at_s_ = 0;
};

std::string pack(const std::vector<MeasuredLink>& links) {
    return {reinterpret_cast<const char*>(links.data()),
            links.size() * sizeof(MeasuredLink)};
}

void unpack(const std::string& bytes, std::vector<MeasuredLink>& links) {
    const std::size_t num = bytes.size() / sizeof(MeasuredLink);
    links.resize(links.size() + num);
    std::memcpy(links.data() + links.size() - num,
                bytes.data(),
                num * sizeof(MeasuredLink));
}

}  // namespace

MeasuredLink fit_link(double latency_s, const std::vector<TimedSize>& times) {
    FUSIONLLM_EXPECTS(times.size() >= 2);
    const std::span<const TimedSize> all(times);
    MeasuredLink best;
    best.latency_s = latency_s;
    best.bytes_per_s = 1 / slope_through(latency_s, all);
    best.error = mean_error(best, all);
    const auto fit = [&](std::size_t num_eager) {
        const Line line = fit_line(all.subspan(num_eager));
        MeasuredLink link = best;
        link.bytes_per_s = 1 / std::max(line.s_per_byte, least_s_per_byte);
        link.eager_bytes = static_cast<std::size_t>(times[num_eager - 1].bytes);
        link.rendezvous_s = line.at_zero_s - latency_s;
        link.error = mean_error(link, all);
        return link;
    };
    for (std::size_t num = 1; num + 2 <= times.size(); ++num) {
        const MeasuredLink link = fit(num);
        // A step has to be worth its parameter, and its name: to be asked
        // takes a round trip, and no library sends much without.
        if (link.rendezvous_s > latency_s &&
            link.rendezvous_s > 0.15 * times[num].seconds &&
            link.eager_bytes <= most_eager_bytes && link.error < 0.1 &&
            link.error < 0.7 * best.error) {
            best = link;
        }
    }
    return best;
}

MeasuredLink measure_link(const LinkTrial& trial, const ProbeLimits& limits) {
    trial.exchange_s(smallest_bytes);  // connections are made at first use
    double trip_s = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 2 * limits.repeats; ++i) {
        trip_s = std::min(trip_s, trial.exchange_s(smallest_bytes));
    }
    const double latency_s = trip_s / 2;
    const SingleMessages single = time_single(trial, limits, latency_s);
    MeasuredLink link = fit_link(latency_s, single.best);
    const double bytes = streamed_bytes(link, single.best, limits);
    const auto streams = time_streams(trial,
                                      limits,
                                      static_cast<std::size_t>(bytes),
                                      latency_s + delay_s(link, bytes));
    link.bytes_per_s = rate_of(streams.front());
    link.error = median_error(link, single.all, streams);
    return link;
}

std::vector<std::vector<std::pair<int, int>>> make_rounds(int num) {
    const int players = num + num % 2;  // one of them nobody
    std::vector<std::vector<std::pair<int, int>>> rounds;
    for (int round = 0; round + 1 < players; ++round) {
        std::vector<std::pair<int, int>> pairs;
        const auto add = [&](int a, int b) {
            if (a < num && b < num) {
                pairs.emplace_back(std::min(a, b), std::max(a, b));
            }
        };
        add(players - 1, round);
        for (int i = 1; i < players / 2; ++i) {
            add((round + i) % (players - 1),
                (round + players - 1 - i) % (players - 1));
        }
        rounds.push_back(std::move(pairs));
    }
    return rounds;
}

std::vector<MeasuredLink> probe(
    Transport& transport,
    const std::vector<std::vector<std::pair<int, int>>>& rounds,
    const ProbeLimits& limits,
    const std::function<double()>& clock,
    const ProbeNotices& notices) {
    std::vector<MeasuredLink> mine;
    const auto measure = [&](int from, int to) {
        const ProbeWait wait{from, to, transport.rank(), 0};
        if (transport.rank() == from) {
            TrialSender sender(
                transport,
                to,
                channels,
                clock,
                WatchedSpin(notices, notices.after_s, clock, wait));
            MeasuredLink& link =
                mine.emplace_back(measure_link(sender.trial(), limits));
            sender.end();
            link.from = from;
            link.to = to;
        } else if (transport.rank() == to) {
            answer_trials(
                transport,
                from,
                channels,
                limits.largest_bytes,
                WatchedSpin(notices, 2 * notices.after_s, clock, wait));
        }
    };
    for (const auto& pairs : rounds) {
        for (const auto& [a, b] : pairs) {
            measure(a, b);
        }
        barrier(transport, barrier_slot);
        for (const auto& [a, b] : pairs) {
            measure(b, a);
        }
        barrier(transport, barrier_slot);
    }
    std::vector<MeasuredLink> all;
    for (const std::string& bytes :
         gather(transport, root, result_slot, pack(mine))) {
        unpack(bytes, all);
    }
    std::ranges::sort(all, {}, [](const MeasuredLink& link) {
        return std::pair(link.from, link.to);
    });
    return all;
}

}  // namespace fusionllm
