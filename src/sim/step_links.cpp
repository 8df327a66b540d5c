#include "step_links.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

constexpr auto nobody = std::numeric_limits<std::size_t>::max();

void check_crossings(const std::vector<Crossing>& crossings,
                     std::size_t num_expected,
                     std::size_t micro_batches,
                     const char* what) {
    FUSIONLLM_VALIDATE(crossings.size() == num_expected,
                       "the step has {} {} crossings instead of {}, one "
                       "between every two neighbouring stages",
                       crossings.size(),
                       what,
                       num_expected);
    for (const Crossing& crossing : crossings) {
        const std::size_t num = crossing.bytes.size();
        FUSIONLLM_VALIDATE(num == 1 || num == micro_batches,
                           "a {} crossing has {} numbers of bytes; give one, "
                           "or one for each of the {} micro-batches",
                           what,
                           num,
                           micro_batches);
    }
}

bool is_to_itself(const Crossing& crossing) {
    return crossing.from == crossing.to;
}

/*!
 * Builds `StepLinks`: first all links, then which crossing is on which.
 */
class LinkFinder {
public:
    LinkFinder(const StepCosts& costs, const Network& network)
        : costs_(costs), network_(network) {}

    StepLinks find() {
        for (const auto* list : lists()) {
            for (const Crossing& crossing : *list) {
                add_link(crossing);
            }
        }
        std::ranges::sort(found_.links, {}, ends_of);
        const auto twice = std::ranges::unique(found_.links, {}, ends_of);
        found_.links.erase(twice.begin(), twice.end());
        sender_of_.assign(found_.links.size(), nobody);
        for (std::size_t s = 0; s + 1 < costs_.stages.size(); ++s) {
            found_.forward.push_back(make_route(costs_.forward[s], s));
            if (!costs_.backward.empty()) {
                found_.backward.push_back(
                    make_route(costs_.backward[s], s + 1));
            }
        }
        add_parameter_gradients();
        find_shared_lines();
        return std::move(found_);
    }

private:
    std::array<const std::vector<Crossing>*, 3> lists() const {
        return {&costs_.forward, &costs_.backward, &costs_.parameter_gradients};
    }

    static std::pair<DeviceId, DeviceId> ends_of(const UsedLink& link) {
        return {link.from, link.to};
    }

    void add_link(const Crossing& crossing) {
        if (!is_to_itself(crossing)) {
            found_.links.push_back({crossing.from,
                                    crossing.to,
                                    network_.link(crossing.from, crossing.to),
                                    {}});
        }
    }

    Route make_route(const Crossing& crossing, std::size_t sender) {
        if (is_to_itself(crossing)) {
            return {Route::no_link, &crossing};
        }
        const auto at =
            std::ranges::lower_bound(found_.links,
                                     std::pair(crossing.from, crossing.to),
                                     {},
                                     ends_of) -
            found_.links.begin();
        const auto link = static_cast<std::size_t>(at);
        if (sender_of_[link] != nobody && sender_of_[link] != sender) {
            found_.is_independent = false;
        }
        sender_of_[link] = sender;
        return {link, &crossing};
    }

    DeviceId device_of(std::size_t stage) const {
        return stage == 0 ? costs_.forward[0].from
                          : costs_.forward[stage - 1].to;
    }

    std::vector<std::size_t> stages_on(DeviceId device) const {
        std::vector<std::size_t> stages;
        for (std::size_t s = 0; s < costs_.stages.size(); ++s) {
            if (costs_.stages.size() == 1 || device_of(s) == device) {
                stages.push_back(s);
            }
        }
        FUSIONLLM_VALIDATE(!stages.empty(),
                           "gradients of parameters go from or to device {}, "
                           "which runs no stage",
                           device.get());
        return stages;
    }

    void add_parameter_gradients() {
        for (const Crossing& crossing : costs_.parameter_gradients) {
            auto senders = stages_on(crossing.from);
            found_.parameter_gradients.push_back(
                make_route(crossing, senders.back()));
            found_.senders.push_back(std::move(senders));
            found_.receivers.push_back(stages_on(crossing.to));
        }
    }

    void find_shared_lines() {
        std::vector<int> num_links(network_.num_lines(), 0);
        const auto lines_of = [&](const UsedLink& link) {
            return network_.lines(link.from, link.to);
        };
        for (const UsedLink& link : found_.links) {
            for (const LineId line : lines_of(link)) {
                ++num_links[line.get()];
            }
        }
        for (UsedLink& link : found_.links) {
            for (const LineId line : lines_of(link)) {
                const bool is_limited =
                    std::isfinite(network_.line(line).bandwidth_bytes_per_s);
                if (num_links[line.get()] > 1 && is_limited) {
                    link.shared_lines.push_back(line);
                    found_.is_independent = false;
                }
            }
        }
    }

    const StepCosts& costs_;
    const Network& network_;
    StepLinks found_;
    std::vector<std::size_t> sender_of_;  // a stage, by link
};

}  // namespace

const Route& StepLinks::route(Span::Kind kind, std::size_t index) const {
    switch (kind) {
        case Span::Kind::send_activation:
            return forward[index];
        case Span::Kind::send_gradient:
            return backward[index];
        default:
            return parameter_gradients[index];
    }
}

StepLinks find_links(const StepCosts& costs,
                     const Network& network,
                     std::size_t micro_batches) {
    FUSIONLLM_VALIDATE(!costs.stages.empty(),
                       "a step without stages cannot be simulated");
    const std::size_t num_crossings = costs.stages.size() - 1;
    check_crossings(costs.forward, num_crossings, micro_batches, "forward");
    check_crossings(costs.backward,
                    costs.backward.empty() ? 0 : num_crossings,
                    micro_batches,
                    "backward");
    check_crossings(costs.parameter_gradients,
                    costs.parameter_gradients.size(),
                    1,
                    "parameter gradient");
    return LinkFinder(costs, network).find();
}

}  // namespace fusionllm
