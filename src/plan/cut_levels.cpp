#include "cut_levels.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace fusionllm::detail {
namespace {

constexpr std::size_t most_levels = 12;

CodecWork sum(const SideWork& work) {
    return {work.forward.copied_bytes + work.backward.copied_bytes,
            work.forward.flops + work.backward.flops};
}

double bytes_of(const CutLevel& level) {
    return level.forward_bytes + level.backward_bytes;
}

//! At most `most_levels` of them, the first and the last one too, their bytes
//! in about equal ratios.
std::vector<CutLevel> thin_out(const std::vector<CutLevel>& levels) {
    if (levels.size() <= most_levels) {
        return levels;
    }
    const double step =
        std::pow(bytes_of(levels.back()) / bytes_of(levels.front()),
                 1.0 / (most_levels - 1));
    std::vector<CutLevel> some{levels.front()};
    double wanted = bytes_of(levels.front()) * step;
    for (std::size_t i = 1; i + 1 < levels.size(); ++i) {
        // The last one before they are smaller than wanted.
        if (bytes_of(levels[i + 1]) < wanted && some.size() + 1 < most_levels) {
            some.push_back(levels[i]);
            while (bytes_of(levels[i + 1]) < wanted) {
                wanted *= step;
            }
        }
    }
    some.push_back(levels.back());
    return some;
}

std::vector<CutLevel> make_levels(const CutCost& dense,
                                  std::span<const CutOption> options,
                                  double error_price) {
    std::vector<CutLevel> levels;
    for (const CutOption& option : options) {
        const CutLevel level{dense.forward_bytes - option.saved.forward_bytes,
                             dense.backward_bytes - option.saved.backward_bytes,
                             sum(option.sender),
                             sum(option.receiver),
                             error_price * option.error};
        if (levels.empty() ||
            (level.forward_bytes <= levels.back().forward_bytes &&
             level.backward_bytes <= levels.back().backward_bytes)) {
            levels.push_back(level);
        }
    }
    return thin_out(levels);
}

}  // namespace

CutLevels::CutLevels(const CostModel& model,
                     const std::vector<std::size_t>& positions,
                     const FenceRule* rule) {
    const CutOption dense;
    const double error_price = rule == nullptr ? 0 : rule->error_price();
    std::vector<std::vector<CutLevel>> cuts;
    for (const std::size_t position : positions) {
        cuts.push_back(make_levels(
            model.cut(position),
            rule == nullptr ? std::span(&dense, 1) : rule->options_at(position),
            error_price));
        size_ = std::max(size_, cuts.back().size());
    }
    for (std::vector<CutLevel>& levels : cuts) {
        levels.resize(size_, CutLevel(levels.back()));
        levels_.insert(levels_.end(), levels.begin(), levels.end());
    }
}

std::size_t CutLevels::find(std::size_t cut,
                            const SecondsPerByte& link,
                            double forward_bound_s,
                            double backward_bound_s) const {
    const auto is_too_long = [&](const CutLevel& level) {
        return level.forward_bytes * link.forward > forward_bound_s ||
               level.backward_bytes * link.backward > backward_bound_s;
    };
    const CutLevel* first = &levels_[cut * size_];
    if (!is_too_long(*first)) {
        return 0;
    }
    const CutLevel* found =
        std::partition_point(first + 1, first + size_, is_too_long);
    return static_cast<std::size_t>(found - first);
}

}  // namespace fusionllm::detail
