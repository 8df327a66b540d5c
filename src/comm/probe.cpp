#include "fusionllm/comm/probe.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <thread>

#include "fusionllm/comm/collectives.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

constexpr int root = 0;
constexpr std::uint32_t barrier_slot = 32;
constexpr std::uint32_t result_slot = 33;
// No values travel during a probe.
constexpr Channel there{MessageKind::activation, 0};
constexpr Channel back{MessageKind::gradient, 0};
constexpr std::size_t smallest_bytes = 8;
constexpr double least_s_per_byte = 1e-15;

Buffer make_zeros(std::size_t num_bytes) {
    Buffer buffer(num_bytes);
    std::memset(buffer.data(), 0, num_bytes);
    return buffer;
}

//! Without sleeping: what is measured may take microseconds.
void finish(Request& request) {
    while (!request.test()) {
        std::this_thread::yield();
    }
}

/*!
 * One direction of a pair, from the one who sends. The other one answers every
 * message with a small one.
 */
class Sender {
public:
    Sender(Transport& transport,
           int to,
           const ProbeLimits& limits,
           const std::function<double()>& clock)
        : transport_(transport), to_(to), limits_(limits), clock_(clock) {}

    MeasuredLink measure() {
        MeasuredLink link = measure_link(
            [this](std::size_t num_bytes) { return exchange(num_bytes); },
            limits_);
        end();
        link.from = transport_.rank();
        link.to = to_;
        return link;
    }

private:
    double exchange(std::size_t num_bytes) {
        const double begin_s = clock_();
        Request answer = transport_.receive(to_, back, smallest_bytes);
        Request message = transport_.send(to_, there, make_zeros(num_bytes));
        while (!answer.test()) {
            message.test();
            std::this_thread::yield();
        }
        const double end_s = clock_();
        finish(message);
        return end_s - begin_s;
    }

    //! A message that no measurement sends.
    void end() {
        Request message = transport_.send(to_, there, make_zeros(1));
        finish(message);
    }

    Transport& transport_;
    int to_;
    const ProbeLimits& limits_;
    const std::function<double()>& clock_;
};

void answer(Transport& transport, int from, const ProbeLimits& limits) {
    const std::size_t most = std::max(limits.largest_bytes, smallest_bytes);
    while (true) {
        Request message = transport.receive(from, there, most);
        finish(message);
        if (message.take().size() == 1) {
            return;
        }
        Request reply = transport.send(from, back, make_zeros(smallest_bytes));
        finish(reply);
    }
}

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

double error_of(const MeasuredLink& link, std::span<const TimedSize> times) {
    double sum = 0;
    for (const TimedSize& time : times) {
        const double step =
            link.rendezvous_s > 0 &&
                    time.bytes > static_cast<double>(link.eager_bytes)
                ? link.rendezvous_s
                : 0;
        const double model_s =
            link.latency_s + time.bytes / link.bytes_per_s + step;
        sum += std::abs(model_s / time.seconds - 1);
    }
    return sum / static_cast<double>(times.size());
}

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
    best.error = error_of(best, all);
    const auto fit = [&](std::size_t num_eager) {
        const Line line = fit_line(all.subspan(num_eager));
        MeasuredLink link = best;
        link.bytes_per_s = 1 / std::max(line.s_per_byte, least_s_per_byte);
        link.eager_bytes = static_cast<std::size_t>(times[num_eager - 1].bytes);
        link.rendezvous_s = line.at_zero_s - latency_s;
        link.error = error_of(link, all);
        return link;
    };
    for (std::size_t num = 1; num + 2 <= times.size(); ++num) {
        const MeasuredLink link = fit(num);
        // A step has to be worth its parameter, and its name.
        if (link.rendezvous_s > latency_s / 2 &&
            link.error < 0.7 * best.error) {
            best = link;
        }
    }
    return best;
}

MeasuredLink measure_link(const std::function<double(std::size_t)>& exchange_s,
                          const ProbeLimits& limits) {
    exchange_s(smallest_bytes);  // connections are made at first use
    double trip_s = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 2 * limits.repeats; ++i) {
        trip_s = std::min(trip_s, exchange_s(smallest_bytes));
    }
    const double latency_s = trip_s / 2;
    std::vector<TimedSize> times;
    for (std::size_t n = 1024; n <= limits.largest_bytes; n *= 2) {
        double best_s = exchange_s(n);
        const int more =
            best_s < limits.largest_s / 10 ? limits.repeats - 1 : 1;
        for (int i = 0; i < more; ++i) {
            best_s = std::min(best_s, exchange_s(n));
        }
        times.push_back(
            {static_cast<double>(n), std::max(best_s - latency_s, 1e-9)});
        // The next one takes about twice as long.
        if (times.size() > 1 && best_s - trip_s > limits.largest_s / 2) {
            break;
        }
    }
    return fit_link(latency_s, times);
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
    const std::function<double()>& clock) {
    std::vector<MeasuredLink> mine;
    const auto measure = [&](int from, int to) {
        if (transport.rank() == from) {
            mine.push_back(Sender(transport, to, limits, clock).measure());
        } else if (transport.rank() == to) {
            answer(transport, from, limits);
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
