#include "fusionllm/comm/link_rate.hpp"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

constexpr double agreement = 0.1;
constexpr double long_enough = 0.25;  // wanted of what a stream lasts
constexpr double least_s = 1e-9;

//! Seconds from the first answer to the last.
double rest_of_stream_s(const LinkTrial& trial,
                        const RateLimits& limits,
                        std::size_t bytes) {
    const auto times_s = trial.stream_s(bytes, limits.num_streamed);
    return std::max(times_s.back() - times_s.front(), least_s);
}

//! The mean of the two fastest neighbours that agree, or else the median: what
//! disturbs may delay the first answer as well as the last.
double agreed(std::vector<double> rates, bool& do_agree) {
    std::ranges::sort(rates, std::greater<>());
    for (std::size_t i = 0; i + 1 < rates.size(); ++i) {
        if (rates[i + 1] > (1 - agreement) * rates[i]) {
            do_agree = true;
            return (rates[i] + rates[i + 1]) / 2;
        }
    }
    do_agree = false;
    return rates[rates.size() / 2];
}

}  // namespace

LinkRate measure_rate(const LinkTrial& trial,
                      const RateLimits& limits,
                      std::size_t message_bytes) {
    FUSIONLLM_EXPECTS(limits.num_streamed > 1 && limits.most_streams > 0);
    LinkRate found;
    const auto fit = [&](double bytes) {
        found.message_bytes = static_cast<std::size_t>(
            std::clamp(bytes,
                       static_cast<double>(limits.least_bytes),
                       static_cast<double>(limits.most_bytes)));
    };
    fit(static_cast<double>(message_bytes));
    std::vector<double> rates;
    bool do_agree = false;
    while (!do_agree && std::cmp_less(rates.size(), limits.most_streams)) {
        const auto bytes = static_cast<double>(found.message_bytes);
        const double s = rest_of_stream_s(trial, limits, found.message_bytes);
        const double wanted = limits.stream_s / s;
        if (wanted > 2 && found.message_bytes < limits.most_bytes) {
            fit(bytes * std::min(wanted, 8.0));
            continue;
        }
        rates.push_back((limits.num_streamed - 1) * bytes / s);
        found.bytes_per_s = agreed(rates, do_agree);
        do_agree = do_agree || wanted < long_enough;
        if (wanted < 0.5) {
            fit(bytes * wanted);
        }
    }
    return found;
}

}  // namespace fusionllm
