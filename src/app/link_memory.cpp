#include "app/link_memory.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace fusionllm {
namespace {

constexpr std::size_t num_rates = 7;
// A single step may be disturbed.
constexpr std::size_t enough_rates = 3;
constexpr int most_patience = 64;

}  // namespace

void LinkMemory::add(double bytes_per_s) {
    if (!std::isfinite(bytes_per_s)) {
        return;
    }
    has_told_ = true;
    rates_.push_back(bytes_per_s);
    if (rates_.size() > num_rates) {
        rates_.pop_front();
    }
}

Link LinkMemory::link() const {
    Link link = planned_;
    if (!rates_.empty()) {
        std::vector<double> sorted(rates_.begin(), rates_.end());
        std::ranges::sort(sorted);
        link.bandwidth_bytes_per_s = sorted[sorted.size() / 2];
    }
    return link;
}

void LinkMemory::begin_choice() {
    const bool is_slower =
        link().bandwidth_bytes_per_s < planned_.bandwidth_bytes_per_s / 2;
    if (has_told_) {
        if (is_trial_) {
            patience_ = is_slower ? std::min(2 * patience_, most_patience)
                                  : first_patience;
        }
        is_trial_ = false;
        silent_ = 0;
    } else if (is_slower && ++silent_ > patience_) {
        rates_.clear();
        is_trial_ = true;
        silent_ = 0;
    }
    has_told_ = false;
    chosen_by_ = link();
}

bool LinkMemory::is_far_slower() const {
    return rates_.size() >= enough_rates &&
           link().bandwidth_bytes_per_s < chosen_by_.bandwidth_bytes_per_s / 2;
}

}  // namespace fusionllm
