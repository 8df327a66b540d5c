#include "app/link_memory.hpp"

#include <algorithm>
#include <vector>

namespace fusionllm {
namespace {

constexpr std::size_t most_seen = 7;
// A single step may be disturbed.
constexpr std::size_t enough_seen = 3;
constexpr double far_slower = 0.5;

double median(const std::deque<double>& rates) {
    std::vector<double> sorted(rates.begin(), rates.end());
    std::ranges::sort(sorted);
    return sorted[sorted.size() / 2];
}

}  // namespace

void LinkMemory::add(const LinkFindings& found) {
    if (found.tried) {
        known_.bandwidth_bytes_per_s = *found.tried;
        seen_.clear();
    }
    if (found.seen) {
        seen_.push_back(*found.seen);
    }
    if (seen_.size() > most_seen) {
        seen_.pop_front();
    }
}

Link LinkMemory::link() const {
    Link link = known_;
    if (seen_.size() >= enough_seen) {
        const double rate = median(seen_);
        if (rate < far_slower * link.bandwidth_bytes_per_s) {
            link.bandwidth_bytes_per_s = rate;
        }
    }
    return link;
}

bool LinkMemory::is_far_slower() const {
    return link().bandwidth_bytes_per_s <
           far_slower * chosen_by_.bandwidth_bytes_per_s;
}

}  // namespace fusionllm
