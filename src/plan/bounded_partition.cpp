#include "bounded_partition.hpp"

#include <algorithm>

#include "fusionllm/util/error.hpp"

namespace fusionllm::detail {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
// With more devices, runs of devices without ops are shorter than this.
constexpr std::size_t max_devices_for_any_skip = 64;
constexpr std::size_t max_skip_of_many = 4;
// Differences of prefix sums are off by their rounding.
constexpr double rounded_up = 1 + 1e-9;

//! Of the slowest part of a link, each line shared by so many links.
double seconds_per_byte(const std::vector<double>& sharing,
                        const Network& network,
                        DeviceId from,
                        DeviceId to,
                        double bandwidth_bytes_per_s) {
    double seconds = 1 / bandwidth_bytes_per_s;
    if (!sharing.empty()) {
        for (const LineId line : network.lines(from, to)) {
            seconds = std::max(
                seconds,
                sharing[line.get()] / network.line(line).bandwidth_bytes_per_s);
        }
    }
    return seconds;
}

}  // namespace

BoundedPartition::BoundedPartition(const CostModel& model,
                                   const PartitionTask& task)
    : model_(model),
      is_exact_(is_exact(task)),
      is_interleaved_(task.objective == Objective::interleaved),
      memory_(task.memory),
      use_(task.use),
      micro_batches_(task.micro_batches),
      looks_further_(task.rule != nullptr && task.rule->weighs_errors()),
      positions_(task.cuts),
      levels_(model, task.cuts, task.rule) {
    add_kinds(task);
    add_pairs(task);
    const bool has_layers = is_exact_ && has_memory_limit_ &&
                            memory_ == MemoryNeed::stages_from_here;
    tables_.resize(has_layers ? num_devices() : 1);
    const std::size_t size = num_devices() * num_cuts();
    for (Table& table : tables_) {
        table.tail_s.resize(size);
        table.end.resize(size);
        table.next.resize(size);
        table.level.resize(size);
    }
    exit_s_.resize(num_cuts());
}

BoundedPartition::Sweep BoundedPartition::make_sweep(
    DeviceId sample, ActionKind direction) const {
    const std::size_t num_ops = model_.num_ops();
    const auto seconds = [&](std::size_t begin, std::size_t end) {
        const OpRange ops{begin, end};
        return direction == ActionKind::forward
                   ? model_.forward_s(sample, ops)
                   : model_.backward_s(sample, ops);
    };
    const double all = seconds(0, num_ops);
    Sweep sweep;
    for (const std::size_t position : positions_) {
        sweep.end.push_back(position == 0 ? 0 : seconds(0, position));
        sweep.begin.push_back(
            position == num_ops ? all : all - seconds(position, num_ops));
        sweep.before.push_back((sweep.begin.back() + sweep.end.back()) / 2);
    }
    return sweep;
}

BoundedPartition::Sweep BoundedPartition::add(const Sweep& a, const Sweep& b) {
    Sweep sum = a;
    for (std::size_t i = 0; i < sum.begin.size(); ++i) {
        sum.begin[i] += b.begin[i];
        sum.end[i] += b.end[i];
        sum.before[i] += b.before[i];
    }
    return sum;
}

void BoundedPartition::add_kinds(const PartitionTask& task) {
    std::vector<std::pair<const DeviceKind*, std::size_t>> known;
    for (const DeviceId device : task.order) {
        const DeviceKind* kind = &model_.kind_of(device);
        const std::pair both(kind, model_.op_support().software_of(device));
        const auto found = std::ranges::find(known, both);
        kind_.push_back(static_cast<std::size_t>(found - known.begin()));
        if (found != known.end()) {
            continue;
        }
        known.push_back(both);
        has_memory_limit_ |= kind->memory_bytes > 0;
        Kind& entry = kinds_.emplace_back();
        entry.sample = device;
        entry.forward = make_sweep(device, ActionKind::forward);
        entry.backward = make_sweep(device, ActionKind::backward);
        entry.total = add(entry.forward, entry.backward);
        entry.s_per_copied_byte = model_.codec_s(device, {1, 0});
        entry.s_per_flop = model_.codec_s(device, {0, 1});
        if (!is_exact_) {
            continue;
        }
        entry.max_in_flight.resize(num_cuts() * num_cuts());
        for (std::size_t i = 0; i < num_cuts(); ++i) {
            for (std::size_t j = i + 1; j < num_cuts(); ++j) {
                entry.max_in_flight[i * num_cuts() + j] = model_.max_in_flight(
                    device, {positions_[i], positions_[j]});
            }
        }
    }
}

void BoundedPartition::add_pairs(const PartitionTask& task) {
    const Network& network = model_.network();
    const std::size_t num = num_devices();
    max_skip_ = num <= max_devices_for_any_skip ? std::max<std::size_t>(num, 1)
                                                : max_skip_of_many;
    if (use_ == DeviceUse::all) {
        max_skip_ = 1;
    }
    pairs_.resize(num * max_skip_);
    for (std::size_t a = 0; a < num; ++a) {
        for (std::size_t b = a + 1; b < std::min(num, a + 1 + max_skip_); ++b) {
            const DeviceId from = task.order[a];
            const DeviceId to = task.order[b];
            const Link forward = network.link(from, to);
            const Link backward = network.link(to, from);
            pairs_[a * max_skip_ + (b - a - 1)] = {
                forward,
                backward,
                seconds_per_byte(task.sharing,
                                 network,
                                 from,
                                 to,
                                 forward.bandwidth_bytes_per_s),
                seconds_per_byte(task.sharing,
                                 network,
                                 to,
                                 from,
                                 backward.bandwidth_bytes_per_s)};
        }
    }
}

double BoundedPartition::codec_s(const Kind& from,
                                 const Kind& to,
                                 const CutLevel& level) const {
    return level.sender.copied_bytes * from.s_per_copied_byte +
           level.sender.flops * from.s_per_flop +
           level.receiver.copied_bytes * to.s_per_copied_byte +
           level.receiver.flops * to.s_per_flop;
}

int BoundedPartition::in_flight(std::size_t layer, std::size_t device) const {
    if (memory_ == MemoryNeed::all_in_flight) {
        return micro_batches_;
    }
    const std::size_t stages =
        num_layers() > 1 ? layer + 1 : num_devices() - device;
    return std::min(micro_batches_, static_cast<int>(stages));
}

//! By begin, the last stage end before the first that does not fit; `begin`
//! if none fits; null if anything does.
const std::vector<std::size_t>* BoundedPartition::ends_that_fit(
    Kind& kind, int in_flight) const {
    if (model_.kind_of(kind.sample).memory_bytes <= 0 &&
        model_.op_support().is_everywhere()) {
        return nullptr;
    }
    auto& ends = kind.ends_that_fit[in_flight];
    std::size_t end = 0;
    for (std::size_t i = ends.size(); i < num_cuts(); ++i) {
        end = std::max(end, i);
        while (end + 1 < num_cuts() &&
               model_.max_in_flight(kind.sample,
                                    {positions_[i], positions_[end + 1]}) >=
                   in_flight) {
            ++end;
        }
        ends.push_back(end);
    }
    return &ends;
}

//! The least rest after a stage on the device, by where the stage ends.
void BoundedPartition::fill_exits(std::size_t layer,
                                  std::size_t device,
                                  const Bounds& bounds) {
    const bool has_layers = num_layers() > 1;
    std::ranges::fill(exit_s_, infinity);
    const bool may_be_last =
        use_ == DeviceUse::any || device + 1 == num_devices();
    if (may_be_last && (!has_layers || layer == 0)) {
        exit_s_.back() = 0;
    }
    if (has_layers && layer == 0) {
        return;
    }
    const Table& rest = tables_[has_layers ? layer - 1 : 0];
    std::uint32_t* next = &tables_[layer].next[device * num_cuts()];
    std::uint8_t* level_of = &tables_[layer].level[device * num_cuts()];
    const Kind& kind = kinds_[kind_[device]];
    const double forward_bound = std::min(bounds.forward_s, bounds.total_s);
    const double backward_bound = std::min(bounds.backward_s, bounds.total_s);
    // Of a step that is about as long as its bounds.
    const double step_s =
        micro_batches_ *
        (is_interleaved_ ? bounds.total_s : forward_bound + backward_bound);
    const std::size_t last = std::min(num_devices(), device + 1 + max_skip_);
    for (std::size_t to = device + 1; to < last; ++to) {
        const Pair link = pair(device, to);
        const double* tail = &rest.tail_s[to * num_cuts()];
        for (std::size_t j = 1; j + 1 < num_cuts(); ++j) {
            if (tail[j] >= exit_s_[j]) {
                continue;
            }
            const std::size_t index = levels_.find(
                j,
                {link.forward_s_per_byte, link.backward_s_per_byte},
                forward_bound,
                backward_bound);
            if (index == levels_.size()) {
                continue;
            }
            const std::size_t strongest =
                looks_further_ ? levels_.size() : index + 1;
            for (std::size_t l = index; l < strongest; ++l) {
                const CutLevel& at = levels_.at(j, l);
                const double least =
                    tail[j] + (at.price > 0 ? at.price * step_s : 0);
                if (least >= exit_s_[j]) {
                    break;  // the others cost more
                }
                const double total =
                    least + link.latency_s(at) +
                    at.forward_bytes * link.forward_s_per_byte +
                    at.backward_bytes * link.backward_s_per_byte +
                    codec_s(kind, kinds_[kind_[to]], at);
                if (total < exit_s_[j]) {
                    exit_s_[j] = total;
                    level_of[j] = static_cast<std::uint8_t>(l);
                    next[j] = static_cast<std::uint32_t>(to);
                }
            }
        }
    }
}

//! The least time from a stage on the device to the end, by where it begins.
void BoundedPartition::fill_tails(std::size_t layer,
                                  std::size_t device,
                                  const Bounds& bounds) {
    const std::size_t last_cut = num_cuts() - 1;
    Kind& kind = kinds_[kind_[device]];
    const int needed = in_flight(layer, device);
    const std::vector<std::size_t>* ends =
        is_exact_ ? nullptr : ends_that_fit(kind, needed);
    double* tail_s = &tables_[layer].tail_s[device * num_cuts()];
    std::uint32_t* stage_end = &tables_[layer].end[device * num_cuts()];
    const double total_limit = rounded_up * bounds.total_s;
    const double forward_limit = rounded_up * bounds.forward_s;
    std::size_t too_long = 0;  // the first end at which the ops alone are
    for (std::size_t i = 0; i < last_cut; ++i) {
        double best = infinity;
        std::size_t best_end = i;
        // A longer stage takes longer, one that begins later takes less.
        too_long = std::max(too_long, i + 1);
        while (too_long <= last_cut &&
               kind.total.op_seconds(i, too_long) <= total_limit &&
               kind.forward.op_seconds(i, too_long) <= forward_limit) {
            ++too_long;
        }
        const std::size_t last =
            std::min(ends == nullptr ? last_cut : (*ends)[i], too_long - 1);
        for (std::size_t j = i + 1; j <= last; ++j) {
            const double seconds = kind.total.seconds(i, j);
            const double rest = seconds + exit_s_[j];
            if (rest >= best || seconds > bounds.total_s ||
                kind.forward.seconds(i, j) > bounds.forward_s ||
                kind.backward.seconds(i, j) > bounds.backward_s) {
                continue;
            }
            if (is_exact_ && kind.max_in_flight[i * num_cuts() + j] < needed) {
                continue;
            }
            best = rest;
            best_end = j;
        }
        tail_s[i] = best;
        stage_end[i] = static_cast<std::uint32_t>(best_end);
    }
    tail_s[last_cut] = infinity;
}

Solution BoundedPartition::trace(std::size_t layer, std::size_t device) const {
    const std::size_t stride = num_cuts();
    Solution solution;
    solution.sum_s = tables_[layer].tail_s[device * stride];
    std::size_t begin = 0;
    while (true) {
        const Table& table = tables_[layer];
        const std::size_t end = table.end[device * stride + begin];
        const Kind& kind = kinds_[kind_[device]];
        const double forward_s = kind.forward.seconds(begin, end);
        const double backward_s = kind.backward.seconds(begin, end);
        solution.stages.push_back({device, begin, end});
        double link_forward_s = 0;
        double link_backward_s = 0;
        const bool is_last = end + 1 == num_cuts();
        if (!is_last) {
            const std::size_t to = table.next[device * stride + end];
            const Pair link = pair(device, to);
            const CutLevel& at =
                levels_.at(end, table.level[device * stride + end]);
            link_forward_s = at.forward_bytes * link.forward_s_per_byte;
            link_backward_s = at.backward_bytes * link.backward_s_per_byte;
            device = to;
            layer = num_layers() > 1 ? layer - 1 : layer;
        }
        solution.most_forward_s =
            std::max({solution.most_forward_s, forward_s, link_forward_s});
        solution.most_backward_s =
            std::max({solution.most_backward_s, backward_s, link_backward_s});
        solution.most_s = std::max({solution.most_s,
                                    kind.total.seconds(begin, end),
                                    link_forward_s,
                                    link_backward_s});
        if (is_last) {
            return solution;
        }
        begin = end;
    }
}

std::optional<Solution> BoundedPartition::solve(const Bounds& bounds) {
    double best = infinity;
    std::size_t best_layer = 0;
    std::size_t best_device = 0;
    for (std::size_t layer = 0; layer < num_layers(); ++layer) {
        for (std::size_t device = num_devices(); device-- > 0;) {
            fill_exits(layer, device, bounds);
            fill_tails(layer, device, bounds);
            const double all = tables_[layer].tail_s[device * num_cuts()];
            // Of equal answers the one that begins first in the order.
            if (device < max_skip_ && all <= best && all < infinity) {
                best = all;
                best_layer = layer;
                best_device = device;
            }
        }
    }
    if (best == infinity) {
        return std::nullopt;
    }
    return trace(best_layer, best_device);
}

template <class Stage, class Link>
std::vector<double> BoundedPartition::collect(Stage stage, Link link) const {
    std::vector<double> values;
    for (const Kind& kind : kinds_) {
        for (std::size_t i = 0; i < num_cuts(); ++i) {
            for (std::size_t j = i + 1; j < num_cuts(); ++j) {
                values.push_back(stage(kind, i, j));
            }
        }
    }
    for (std::size_t a = 0; a < num_devices(); ++a) {
        for (std::size_t b = a + 1;
             b < std::min(num_devices(), a + 1 + max_skip_);
             ++b) {
            for (const CutLevel& level : levels_.all()) {
                link(values, pair(a, b), level);
            }
        }
    }
    std::ranges::sort(values);
    values.erase(std::ranges::unique(values).begin(), values.end());
    return values;
}

std::vector<double> BoundedPartition::stage_bounds() const {
    return collect(
        [](const Kind& kind, std::size_t i, std::size_t j) {
            return kind.total.seconds(i, j);
        },
        [](std::vector<double>& values,
           const Pair& link,
           const CutLevel& level) {
            values.push_back(level.forward_bytes * link.forward_s_per_byte);
            values.push_back(level.backward_bytes * link.backward_s_per_byte);
        });
}

std::vector<double> BoundedPartition::forward_bounds() const {
    return collect(
        [](const Kind& kind, std::size_t i, std::size_t j) {
            return kind.forward.seconds(i, j);
        },
        [](std::vector<double>& values,
           const Pair& link,
           const CutLevel& level) {
            values.push_back(level.forward_bytes * link.forward_s_per_byte);
        });
}

std::vector<double> BoundedPartition::backward_bounds() const {
    return collect(
        [](const Kind& kind, std::size_t i, std::size_t j) {
            return kind.backward.seconds(i, j);
        },
        [](std::vector<double>& values,
           const Pair& link,
           const CutLevel& level) {
            values.push_back(level.backward_bytes * link.backward_s_per_byte);
        });
}

double BoundedPartition::least_sum_s() const {
    double sum_s = 0;
    for (std::size_t i = 0; i + 1 < num_cuts(); ++i) {
        double least_s = infinity;
        for (const Kind& kind : kinds_) {
            least_s = std::min(least_s, kind.total.op_seconds(i, i + 1));
        }
        sum_s += least_s;
    }
    return sum_s;
}

double BoundedPartition::backward_ratio() const {
    const Kind& kind = kinds_.front();
    const double forward_s = kind.forward.end.back();
    const double backward_s = kind.backward.end.back();
    return forward_s > 0 && backward_s > 0 ? backward_s / forward_s : 1;
}

}  // namespace fusionllm::detail
