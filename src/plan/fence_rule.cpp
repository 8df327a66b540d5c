#include "fusionllm/plan/fence_rule.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "fusionllm/util/error.hpp"
#include "fusionllm/wire/message_header.hpp"

#include "codec_candidates.hpp"

namespace fusionllm {
namespace {

// Until nothing changes; the target only grows, so that it ends.
constexpr int most_rounds = 8;
// Of differences of large sums.
constexpr double rounded_up = 1 + 1e-9;

double dense_bytes(const MatrixShape& shape) {
    return 4 * static_cast<double>(shape.size());
}

CodecWork more_than_copy(CodecWork work, const MatrixShape& shape) {
    // As the model counts the copy of a dense message.
    work.copied_bytes -= dense_bytes(shape) + header_bytes;
    return work;
}

void add(const CodecWork& work, CodecWork& sum) {
    sum.copied_bytes += work.copied_bytes;
    sum.flops += work.flops;
}

double total(const CodecWork& work) {
    return work.copied_bytes + work.flops;
}

double total(const CutOption& option) {
    return total(option.sender.forward) + total(option.sender.backward) +
           total(option.receiver.forward) + total(option.receiver.backward);
}

bool is_dense(const CutOption& option) {
    return option.codec == CodecChoice{};
}

//! Nothing speaks for `other` where there is `option`, which has less error.
bool is_as_good(const CutOption& option, const CutOption& other) {
    return option.saved.forward_bytes >= other.saved.forward_bytes &&
           option.saved.backward_bytes >= other.saved.backward_bytes &&
           total(option) <= total(other);
}

double saved_bytes(const CutOption& option) {
    return option.saved.forward_bytes + option.saved.backward_bytes;
}

//! Seconds that no stage and no link may exceed.
struct Target {
    double forward_s = 0;
    double backward_s = 0;

    void raise(double new_forward_s, double new_backward_s) {
        forward_s = std::max(forward_s, new_forward_s);
        backward_s = std::max(backward_s, new_backward_s);
    }
};

}  // namespace

//! A cut between two devices, and what joins them.
struct FenceRule::Boundary {
    std::size_t cut = 0;
    DeviceId sender{0};
    DeviceId receiver{0};
    Link forward;
    Link backward;
    double latency_weight = 0;  // 1 where latency counts

    double forward_s(const CostModel& model, const CutOption& option) const {
        return seconds(
            forward, model.cut(cut).forward_bytes - option.saved.forward_bytes);
    }
    double backward_s(const CostModel& model, const CutOption& option) const {
        return seconds(
            backward,
            model.cut(cut).backward_bytes - option.saved.backward_bytes);
    }

private:
    double seconds(const Link& link, double bytes) const {
        return latency_weight * link.latency_s +
               bytes / link.bandwidth_bytes_per_s;
    }
};

FenceRule::FenceRule(const CostModel& model,
                     const CompressionOptions& options,
                     const ErrorTable& errors)
    : model_(model),
      options_(options),
      errors_(errors),
      candidates_(detail::codec_candidates(options)) {
    add_profiles();
}

bool FenceRule::applies(const CodecChoice& codec,
                        const MatrixShape& shape) const {
    return is_fixed() ||
           (byte_ratio(codec, shape) > 1 && !(codec == CodecChoice{}));
}

void FenceRule::add_profiles() {
    // Cuts with values of the same shapes have the same options, unless
    // something was measured there.
    std::map<std::pair<std::size_t, std::vector<std::uint32_t>>, std::uint32_t>
        known;
    for (std::size_t cut = 0; cut <= model_.num_ops(); ++cut) {
        std::vector<std::uint32_t> shapes;
        bool has_any = false;
        for (const CutValue& value : model_.values_at(cut)) {
            shapes.push_back(value.shape);
            has_any |= errors_.has_any(cut, value.value);
        }
        std::ranges::sort(shapes);
        const auto [entry, is_new] =
            known.try_emplace({has_any ? cut : 0, std::move(shapes)},
                              static_cast<std::uint32_t>(profiles_.size()));
        if (is_new) {
            profiles_.push_back(make_options(cut));
        }
        profile_of_cut_.push_back(entry->second);
    }
}

std::vector<CutOption> FenceRule::make_options(std::size_t cut) const {
    std::vector<CutOption> options;
    for (const CodecChoice& codec : candidates_) {
        CutOption option;
        option.codec = codec;
        bool is_allowed = true;
        for (const CutValue& value : model_.values_at(cut)) {
            const MatrixShape& shape = model_.shapes()[value.shape];
            if (!applies(codec, shape)) {
                continue;
            }
            const CodecPair pair = resolve(codec, shape);
            option.saved.forward_bytes +=
                dense_bytes(shape) -
                static_cast<double>(payload_bytes(pair.forward, shape));
            option.saved.backward_bytes +=
                dense_bytes(shape) -
                static_cast<double>(payload_bytes(pair.backward, shape));
            const double forward =
                errors_.error(cut, value.value, Direction::forward, codec);
            const double backward =
                errors_.error(cut, value.value, Direction::backward, codec);
            option.error =
                std::max(option.error, std::hypot(forward, backward));
            is_allowed &= byte_ratio(codec, shape) <= options_.max_byte_ratio &&
                          (options_.max_error <= 0 ||
                           std::max(forward, backward) <= options_.max_error);
            const auto there = Direction::forward;
            const auto back = Direction::backward;
            add(more_than_copy(encode_work(codec, shape, there), shape),
                option.sender.forward);
            add(more_than_copy(decode_work(codec, shape, back), shape),
                option.sender.backward);
            add(more_than_copy(decode_work(codec, shape, there), shape),
                option.receiver.forward);
            add(more_than_copy(encode_work(codec, shape, back), shape),
                option.receiver.backward);
        }
        const bool saves = saved_bytes(option) > 0 || is_dense(option);
        if (is_fixed() || (is_allowed && saves)) {
            options.push_back(option);
        }
    }
    std::ranges::stable_sort(options, [](const auto& a, const auto& b) {
        return std::pair(a.error, -saved_bytes(a)) <
               std::pair(b.error, -saved_bytes(b));
    });
    std::vector<CutOption> useful;
    for (const CutOption& option : options) {
        if (std::ranges::none_of(useful, [&](const CutOption& other) {
                return is_as_good(other, option);
            })) {
            useful.push_back(option);
        }
    }
    return useful;
}

std::vector<FenceRule::Boundary> FenceRule::find_boundaries(
    const Placement& placement,
    const FenceTask& task,
    const MeasuredStep& measured) const {
    const auto& stages = placement.stages;
    const Network& network = model_.network();
    std::vector<Boundary> boundaries;
    // Bytes that each line carries in either direction of the pipeline, or in
    // both if they go on at the same time.
    std::vector<double> forward_load(network.num_lines(), 0);
    std::vector<double> backward_load(network.num_lines(), 0);
    const bool is_measured = !measured.forward.empty();
    for (std::size_t s = 0; s + 1 < stages.size(); ++s) {
        Boundary& boundary = boundaries.emplace_back();
        boundary.cut = stages[s].ops.end;
        boundary.sender = stages[s].devices.at(0);
        boundary.receiver = stages[s + 1].devices.at(0);
        boundary.latency_weight = task.link_time == LinkTime::whole ? 1 : 0;
        boundary.forward =
            is_measured ? measured.forward.at(s)
                        : network.link(boundary.sender, boundary.receiver);
        boundary.backward =
            is_measured ? measured.backward.at(s)
                        : network.link(boundary.receiver, boundary.sender);
        const CutCost& cut = model_.cut(boundary.cut);
        for (const LineId line :
             network.lines(boundary.sender, boundary.receiver)) {
            forward_load[line.get()] += cut.forward_bytes;
        }
        for (const LineId line :
             network.lines(boundary.receiver, boundary.sender)) {
            (task.objective == Objective::interleaved
                 ? forward_load
                 : backward_load)[line.get()] += cut.backward_bytes;
        }
    }
    if (is_measured) {
        return boundaries;  // what others left of the lines is in the figures
    }
    const auto& back_load =
        task.objective == Objective::interleaved ? forward_load : backward_load;
    const auto share = [&](Link& link,
                           const LineList& lines,
                           const std::vector<double>& load,
                           double bytes) {
        for (const LineId line : lines) {
            if (load[line.get()] > bytes && bytes > 0) {
                link.bandwidth_bytes_per_s =
                    std::min(link.bandwidth_bytes_per_s,
                             network.line(line).bandwidth_bytes_per_s * bytes /
                                 load[line.get()]);
            }
        }
    };
    for (Boundary& boundary : boundaries) {
        const CutCost& cut = model_.cut(boundary.cut);
        share(boundary.forward,
              network.lines(boundary.sender, boundary.receiver),
              forward_load,
              cut.forward_bytes);
        share(boundary.backward,
              network.lines(boundary.receiver, boundary.sender),
              back_load,
              cut.backward_bytes);
    }
    return boundaries;
}

void FenceRule::add_fences(std::size_t cut,
                           const CodecChoice& codec,
                           std::vector<Fence>& fences) const {
    for (const CutValue& value : model_.values_at(cut)) {
        if (applies(codec, model_.shapes()[value.shape])) {
            fences.push_back({cut, value.value, codec});
        }
    }
}

std::vector<Fence> FenceRule::choose_paper(const Placement& placement) const {
    std::vector<double> link_s;
    double most_s = 0;
    const auto& stages = placement.stages;
    for (std::size_t s = 0; s + 1 < stages.size(); ++s) {
        const DeviceId from = stages[s].devices.at(0);
        const DeviceId to = stages[s + 1].devices.at(0);
        const CutCost& cut = model_.cut(stages[s].ops.end);
        link_s.push_back(
            transfer_s(model_.network().link(from, to), cut.forward_bytes) +
            transfer_s(model_.network().link(to, from), cut.backward_bytes));
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
    const MeasuredStep& measured) const {
    const auto& stages = placement.stages;
    const bool is_interleaved = task.objective == Objective::interleaved;
    const auto boundaries = find_boundaries(placement, task, measured);
    Target target;
    std::vector<StageSeconds> dense;
    for (std::size_t s = 0; s < stages.size(); ++s) {
        const DeviceId device = stages[s].devices.at(0);
        dense.push_back(
            measured.stages.empty()
                ? StageSeconds{model_.forward_s(device, stages[s].ops),
                               model_.backward_s(device, stages[s].ops),
                               0}
                : measured.stages.at(s));
    }
    // What nothing makes faster.
    for (const Boundary& boundary : boundaries) {
        Target least{std::numeric_limits<double>::infinity(),
                     std::numeric_limits<double>::infinity()};
        for (const CutOption& option : options_at(boundary.cut)) {
            const double forward_s = boundary.forward_s(model_, option);
            const double backward_s = boundary.backward_s(model_, option);
            const double most_s = std::max(forward_s, backward_s);
            if (is_interleaved ? most_s < least.forward_s
                               : forward_s + backward_s <
                                     least.forward_s + least.backward_s) {
                least = is_interleaved ? Target{most_s, most_s}
                                       : Target{forward_s, backward_s};
            }
        }
        target.raise(least.forward_s, least.backward_s);
    }
    std::vector<std::size_t> chosen(boundaries.size(), 0);
    for (int round = 0; round < most_rounds; ++round) {
        std::vector<StageSeconds> now = dense;
        for (std::size_t s = 0; s < boundaries.size(); ++s) {
            const Boundary& boundary = boundaries[s];
            const CutOption& option = options_at(boundary.cut)[chosen[s]];
            const auto charge = [&](DeviceId device,
                                    const SideWork& work,
                                    StageSeconds& stage) {
                stage.forward_s += model_.codec_s(device, work.forward);
                stage.backward_s += model_.codec_s(device, work.backward);
            };
            charge(boundary.sender, option.sender, now[s]);
            charge(boundary.receiver, option.receiver, now[s + 1]);
        }
        for (const StageSeconds& stage : now) {
            const double both_s = stage.forward_s + stage.backward_s;
            target.raise(is_interleaved ? both_s : stage.forward_s,
                         is_interleaved ? both_s : stage.backward_s);
        }
        const std::vector<std::size_t> before = chosen;
        for (std::size_t s = 0; s < boundaries.size(); ++s) {
            const auto options = options_at(boundaries[s].cut);
            const auto found =
                std::ranges::find_if(options, [&](const CutOption& option) {
                    return boundaries[s].forward_s(model_, option) <=
                               rounded_up * target.forward_s &&
                           boundaries[s].backward_s(model_, option) <=
                               rounded_up * target.backward_s;
                });
            FUSIONLLM_EXPECTS(found != options.end());
            chosen[s] = static_cast<std::size_t>(found - options.begin());
        }
        if (chosen == before && round > 0) {
            break;
        }
    }
    std::vector<Fence> fences;
    for (std::size_t s = 0; s < boundaries.size(); ++s) {
        add_fences(boundaries[s].cut,
                   options_at(boundaries[s].cut)[chosen[s]].codec,
                   fences);
    }
    return fences;
}

double FenceRule::error_of(const Fence& fence) const {
    return std::hypot(
        errors_.error(fence.cut, fence.value, Direction::forward, fence.codec),
        errors_.error(
            fence.cut, fence.value, Direction::backward, fence.codec));
}

double FenceRule::price(std::span<const Fence> fences) const {
    if (!has_target()) {
        return 1;
    }
    double sum = 0;
    for (std::size_t i = 0; i < fences.size();) {
        const std::size_t cut = fences[i].cut;
        double error = 0;
        for (; i < fences.size() && fences[i].cut == cut; ++i) {
            error = std::max(error, error_of(fences[i]));
        }
        sum += error;
    }
    return 1 + error_price * sum;
}

std::vector<Fence> FenceRule::choose(const Placement& placement,
                                     const FenceTask& task) const {
    std::vector<Fence> fences = choose(placement, task, {});
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

std::vector<Fence> FenceRule::choose(const Placement& placement,
                                     const FenceTask& task,
                                     const MeasuredStep& measured) const {
    if (candidates_.empty()) {
        return {};
    }
    if (is_fixed()) {
        std::vector<Fence> fences;
        for (std::size_t s = 0; s + 1 < placement.stages.size(); ++s) {
            add_fences(
                placement.stages[s].ops.end, candidates_.front(), fences);
        }
        return fences;
    }
    return options_.rule == "paper"
               ? choose_paper(placement)
               : choose_under_target(placement, task, measured);
}

std::vector<Fence> choose_fences(const CostModel& model,
                                 const Placement& placement,
                                 const FenceTask& task,
                                 const CompressionOptions& options,
                                 const ErrorTable& errors) {
    return FenceRule(model, options, errors).choose(placement, task);
}

}  // namespace fusionllm
