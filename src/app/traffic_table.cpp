#include "app/traffic_table.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "fusionllm/util/text.hpp"

namespace fusionllm {
namespace {

struct Counts {
    std::uint64_t sent = 0;
    std::uint64_t planned = 0;
};

//! By the positions of the two groups, the lower one first.
using GroupCounts = std::map<std::pair<int, int>, Counts>;

void add(GroupCounts& counts,
         const RankTraffic& traffic,
         const std::vector<int>& group_of_rank,
         std::uint64_t Counts::*count) {
    for (const auto& [ranks, bytes] : traffic) {
        const auto groups = std::minmax(group_of_rank.at(ranks.first),
                                        group_of_rank.at(ranks.second));
        counts[groups].*count += bytes;
    }
}

}  // namespace

std::string describe_traffic(const RankTraffic& sent,
                             const RankTraffic& planned,
                             const std::vector<int>& group_of_rank,
                             const std::vector<DeviceGroup>& groups) {
    GroupCounts counts;
    add(counts, sent, group_of_rank, &Counts::sent);
    add(counts, planned, group_of_rank, &Counts::planned);
    if (counts.empty()) {
        return "";
    }
    std::vector<std::vector<std::string>> rows;
    for (const auto& [pair, count] : counts) {
        const auto& [a, b] = pair;
        rows.push_back({a == b ? "inside " + groups.at(a).name
                               : groups.at(a).name + " - " + groups.at(b).name,
                        fmt::format("{}", count.sent),
                        fmt::format("{}", count.planned)});
    }
    return format_table({"communicator", "bytes sent", "planned"}, rows);
}

}  // namespace fusionllm
