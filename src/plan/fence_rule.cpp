#include "fusionllm/plan/fence_rule.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "codec_candidates.hpp"
#include "cut_options.hpp"
#include "target_search.hpp"

namespace fusionllm {
namespace {

// A codec that is in use stays while its link takes at most that many times the
// target, and its error is at most that many times that of the best one.
constexpr double slack_of_current = 1.1;
constexpr double slack_of_error = 2;
// Of a codec that the user has named: no more than to choose among plans that
// take about the same time.
constexpr double price_of_named = 0.005;

}  // namespace

FenceRule::FenceRule(const CostModel& model,
                     const CompressionOptions& options,
                     const ErrorTable& errors)
    : model_(model),
      options_(options),
      errors_(errors),
      candidates_(detail::codec_candidates(options)) {
    add_profiles();
}

void FenceRule::add_profiles() {
    // Cuts with values of the same shapes and kinds have the same options,
    // unless something was measured there.
    std::map<std::pair<std::size_t, std::vector<std::uint32_t>>, std::uint32_t>
        known;
    for (std::size_t cut = 0; cut <= model_.num_ops(); ++cut) {
        std::vector<std::uint32_t> shapes;
        bool has_any = false;
        for (const CutValue& value : model_.values_at(cut)) {
            const bool is_map = errors_.rows_of(value.value) == RowsOf::maps;
            shapes.push_back(2 * value.shape + (is_map ? 1 : 0));
            has_any |= errors_.has_any(cut, value.value);
        }
        std::ranges::sort(shapes);
        const auto [entry, is_new] =
            known.try_emplace({has_any ? cut : 0, std::move(shapes)},
                              static_cast<std::uint32_t>(profiles_.size()));
        if (is_new) {
            profiles_.push_back(detail::make_cut_options(
                model_, cut, candidates_, options_, errors_));
        }
        profile_of_cut_.push_back(entry->second);
    }
}

void FenceRule::add_fences(std::size_t cut,
                           const CodecChoice& codec,
                           std::vector<Fence>& fences) const {
    for (const CutValue& value : model_.values_at(cut)) {
        if (detail::applies(options_, codec, model_.shapes()[value.shape])) {
            fences.push_back({cut, value.value, codec});
        }
    }
}

std::vector<Fence> FenceRule::choose_paper(const Placement& placement,
                                           const MeasuredStep& measured) const {
    std::vector<double> link_s;
    double most_s = 0;
    const auto& stages = placement.stages;
    for (std::size_t s = 0; s + 1 < stages.size(); ++s) {
        const DeviceId from = stages[s].devices.at(0);
        const DeviceId to = stages[s + 1].devices.at(0);
        const CutCost& cut = model_.cut(stages[s].ops.end);
        const bool is_measured = !measured.forward.empty();
        link_s.push_back(
            transfer_s(is_measured ? measured.forward.at(s)
                                   : model_.network().link(from, to),
                       cut.forward_bytes) +
            transfer_s(is_measured ? measured.backward.at(s)
                                   : model_.network().link(to, from),
                       cut.backward_bytes));
        most_s = std::max(most_s, link_s.back());
    }
    std::vector<Fence> fences;
    for (std::size_t s = 0; s < link_s.size(); ++s) {
        const double ratio =
            most_s > 0
                ? std::max(1.0,
                           3 * options_.max_byte_ratio * link_s[s] / most_s)
                : 1;
        add_fences(
            stages[s].ops.end, parse_codec_choice("paper", ratio), fences);
    }
    return fences;
}

std::vector<Fence> FenceRule::choose_under_target(
    const Placement& placement,
    const FenceTask& task,
    const MeasuredStep& measured,
    const std::vector<Fence>& now) const {
    const detail::TargetSearch search(model_, *this, placement, task, measured);
    std::vector<Fence> fences;
    for (std::size_t s = 0; s < search.chosen().size(); ++s) {
        const std::size_t cut = search.cut(s);
        const auto options = options_at(cut);
        const CutOption* option = &options[search.chosen()[s]];
        const auto here = fences_at(now, cut);
        const auto current =
            std::ranges::find(options,
                              here.empty() ? CodecChoice() : here.front().codec,
                              &CutOption::codec);
        if (!now.empty() && current != options.end() &&
            search.fits(s,
                        static_cast<std::size_t>(current - options.begin()),
                        slack_of_current) &&
            current->error <= slack_of_error * slack_of_error * option->error) {
            option = &*current;
        }
        add_fences(cut, option->codec, fences);
    }
    return fences;
}

double FenceRule::error_price() const {
    return !has_target()     ? 0
           : weighs_errors() ? options_.error_price
                             : std::min(options_.error_price, price_of_named);
}

double FenceRule::price(std::span<const Fence> fences) const {
    return 1 + error_price() * errors_.squared_errors(fences);
}

std::vector<Fence> FenceRule::choose(const Placement& placement,
                                     const FenceTask& task) const {
    std::vector<Fence> fences = choose_again(placement, task, {}, {});
    if (!has_target() || fences.empty()) {
        return fences;
    }
    const auto step_s = [&](std::span<const Fence> some) {
        return analytic_step_s(model_.step_costs(placement, some),
                               model_.network(),
                               task.micro_batches,
                               task.objective);
    };
    return price(fences) * step_s(fences) < step_s({}) ? fences
                                                       : std::vector<Fence>{};
}

std::vector<Fence> FenceRule::choose_again(
    const Placement& placement,
    const FenceTask& task,
    const MeasuredStep& measured,
    const std::vector<Fence>& now) const {
    if (has_target()) {
        return choose_under_target(placement, task, measured, now);
    }
    std::vector<Fence> fences;
    if (options_.rule == "paper") {
        return choose_paper(placement, measured);
    }
    for (std::size_t s = 0; has_codecs() && s + 1 < placement.stages.size();
         ++s) {
        add_fences(placement.stages[s].ops.end, candidates_.front(), fences);
    }
    return fences;
}

std::vector<Fence> choose_fences(const CostModel& model,
                                 const Placement& placement,
                                 const FenceTask& task,
                                 const CompressionOptions& options,
                                 const ErrorTable& errors) {
    return FenceRule(model, options, errors).choose(placement, task);
}

}  // namespace fusionllm
