#include "fusionllm/plan/traffic.hpp"

#include <algorithm>
#include <set>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

StageId stage_of(const Placement& placement, OpId op) {
    const auto& stages = placement.stages;
    const auto stage = std::ranges::upper_bound(
        stages, static_cast<std::size_t>(op.get()), {}, [](const auto& s) {
            return s.ops.end;
        });
    FUSIONLLM_EXPECTS(stage != stages.end());
    return StageId(static_cast<std::uint32_t>(stage - stages.begin()));
}

std::vector<int> groups_of_stages(const Plan& plan) {
    std::vector<int> groups;
    for (const StagePlacement& stage : plan.placement.stages) {
        groups.push_back(find_group(plan, stage.devices.at(0)));
    }
    return groups;
}

}  // namespace

std::vector<SharedParameter> shared_parameter_holders(const Plan& plan,
                                                      const OpGraph& graph) {
    std::vector<SharedParameter> shared;
    const std::size_t num_parameters = graph.signature().parameters.size();
    for (std::size_t p = 0; p < num_parameters; ++p) {
        SharedParameter parameter{p, {}};
        // Uses come in op order, so their stages ascend.
        for (const ParameterUse& use : uses_of_parameter(graph, p)) {
            const StageId stage = stage_of(plan.placement, use.op);
            if (parameter.holders.empty() ||
                parameter.holders.back() != stage) {
                parameter.holders.push_back(stage);
            }
        }
        if (parameter.holders.size() > 1) {
            shared.push_back(std::move(parameter));
        }
    }
    return shared;
}

std::vector<std::pair<int, int>> communicating_groups(const Plan& plan,
                                                      const OpGraph& graph,
                                                      int root_group) {
    std::set<std::pair<int, int>> pairs;
    const auto add = [&pairs](int a, int b) {
        if (a != b) {
            pairs.emplace(std::min(a, b), std::max(a, b));
        }
    };
    const auto group_of = groups_of_stages(plan);
    for (std::size_t s = 0; s + 1 < group_of.size(); ++s) {
        add(group_of[s], group_of[s + 1]);
    }
    for (const auto& parameter : shared_parameter_holders(plan, graph)) {
        for (const StageId a : parameter.holders) {
            for (const StageId b : parameter.holders) {
                add(group_of[a.get()], group_of[b.get()]);
            }
        }
    }
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
        add(root_group, static_cast<int>(g));
    }
    return {pairs.begin(), pairs.end()};
}

}  // namespace fusionllm
