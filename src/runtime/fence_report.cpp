#include "fusionllm/runtime/fence_report.hpp"

#include <algorithm>
#include <tuple>

namespace fusionllm {
namespace {

auto key_of(const FenceReport& report) {
    return std::tuple(report.cut, report.value, report.direction);
}

void add(FenceReport& sum, const FenceReport& report) {
    sum.dense_bytes += report.dense_bytes;
    sum.bytes += report.bytes;
    sum.encode_s += report.encode_s;
    sum.decode_s += report.decode_s;
    if (report.error) {
        sum.error = report.error;
        sum.cosine = report.cosine;
    }
    if (report.link_bytes_per_s) {
        sum.link_bytes_per_s = report.link_bytes_per_s;
    }
}

}  // namespace

std::vector<FenceReport> merge_reports(std::vector<FenceReport> reports) {
    std::ranges::stable_sort(reports, {}, key_of);
    std::vector<FenceReport> merged;
    for (const FenceReport& report : reports) {
        if (merged.empty() || key_of(merged.back()) != key_of(report)) {
            merged.push_back(report);
        } else {
            add(merged.back(), report);
        }
    }
    return merged;
}

}  // namespace fusionllm
