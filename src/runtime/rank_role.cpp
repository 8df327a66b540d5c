#include "fusionllm/runtime/rank_role.hpp"

#include <algorithm>

#include "fusionllm/util/error.hpp"

namespace fusionllm {

RankRole make_rank_role(const Plan& plan,
                        const std::vector<DeviceId>& device_of_rank,
                        int rank) {
    RankRole role;
    for (const StagePlacement& stage : plan.placement.stages) {
        const auto holder =
            std::ranges::find(device_of_rank, stage.devices.at(0));
        FUSIONLLM_VALIDATE(
            holder != device_of_rank.end(),
            "the plan puts a stage on device {}, but the {} ranks hold no such "
            "device; start more ranks or make a new plan",
            stage.devices.at(0).get(),
            device_of_rank.size());
        role.rank_of_stage.push_back(
            static_cast<int>(holder - device_of_rank.begin()));
    }
    const auto mine = std::ranges::find(role.rank_of_stage, rank);
    if (mine == role.rank_of_stage.end()) {
        return role;
    }
    const auto stage = mine - role.rank_of_stage.begin();
    role.stage = static_cast<std::size_t>(stage);
    if (stage > 0) {
        role.neighbours.previous = *(mine - 1);
    }
    if (mine + 1 != role.rank_of_stage.end()) {
        role.neighbours.next = *(mine + 1);
    }
    return role;
}

}  // namespace fusionllm
