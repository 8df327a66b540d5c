#include "fusionllm/plan/op_support.hpp"

#include <algorithm>
#include <utility>

#include "fusionllm/util/error.hpp"

namespace fusionllm {

OpSupport::OpSupport(std::vector<Software> software,
                     std::vector<std::size_t> software_of_device,
                     std::size_t num_ops)
    : software_(std::move(software)),
      software_of_device_(std::move(software_of_device)) {
    FUSIONLLM_EXPECTS(std::ranges::all_of(
        software_of_device_,
        [&](std::size_t index) { return index < software_.size(); }));
    if (std::ranges::all_of(software_, [](const Software& entry) {
            return entry.missing.empty();
        })) {
        return;
    }
    for (const Software& entry : software_) {
        std::vector<std::size_t> next(num_ops + 1, num_ops);
        for (const std::size_t op : entry.missing) {
            next.at(op) = op;
        }
        for (std::size_t op = num_ops; op-- > 0;) {
            next[op] = std::min(next[op], next[op + 1]);
        }
        next_missing_.push_back(std::move(next));
    }
}

std::vector<std::size_t> OpSupport::borders() const {
    std::vector<std::size_t> borders;
    for (const auto& next : next_missing_) {
        for (std::size_t i = 1; i + 1 < next.size(); ++i) {
            if ((next[i] == i) != (next[i - 1] == i - 1)) {
                borders.push_back(i);
            }
        }
    }
    std::ranges::sort(borders);
    borders.erase(std::ranges::unique(borders).begin(), borders.end());
    return borders;
}

}  // namespace fusionllm
