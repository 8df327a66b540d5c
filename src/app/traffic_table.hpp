#pragma once

#include <string>
#include <vector>

#include "fusionllm/plan/plan.hpp"
#include "fusionllm/runtime/sent_bytes.hpp"

namespace fusionllm {

/*!
 * What went through the intracommunicator of every group and through every
 * intercommunicator, beside what the plan foresaw, in bytes; an empty text if
 * nothing was sent.
 */
std::string describe_traffic(const RankTraffic& sent,
                             const RankTraffic& planned,
                             const std::vector<int>& group_of_rank,
                             const std::vector<DeviceGroup>& groups);

}  // namespace fusionllm
