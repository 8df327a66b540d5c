#include "fusionllm/graph/buffer_updates.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

// Of batch_norm, native_batch_norm, instance_norm, ... alike.
constexpr std::array<std::size_t, 2> running_statistics{3, 4};
constexpr std::size_t training_flag = 5;

bool updates_statistics(const Op& op) {
    const bool is_norm = op.target.ends_with("batch_norm") ||
                         op.target.ends_with("batch_norm_legit") ||
                         op.target == "aten::instance_norm";
    if (!is_norm || op.arguments.size() <= training_flag) {
        return false;
    }
    const auto* flag = std::get_if<bool>(&op.arguments[training_flag]);
    return flag != nullptr && *flag;
}

bool is_in_place(std::string_view target) {
    return target.ends_with("_") && !target.ends_with("__");
}

std::size_t stage_of(OpId op, const std::vector<std::size_t>& cuts) {
    return static_cast<std::size_t>(std::ranges::upper_bound(cuts, op.get()) -
                                    cuts.begin());
}

}  // namespace

std::vector<std::size_t> changed_buffers(const OpGraph& graph, OpId id) {
    const Op& op = graph.op(id);
    std::set<std::size_t> changed;
    const auto add = [&](std::size_t position) {
        if (position >= op.arguments.size()) {
            return;
        }
        if (const auto* value = std::get_if<ValueId>(&op.arguments[position])) {
            if (const auto buffer = graph.buffer_index(*value)) {
                changed.insert(*buffer);
            }
        }
    };
    if (updates_statistics(op)) {
        std::ranges::for_each(running_statistics, add);
    } else if (is_in_place(op.target)) {
        add(0);
    }
    return {changed.begin(), changed.end()};
}

std::vector<bool> find_cuttable(const OpGraph& graph) {
    std::vector<bool> cuttable(graph.ops().size() + 1, true);
    for (std::uint32_t i = 0; i < graph.ops().size(); ++i) {
        for (const std::size_t index : changed_buffers(graph, OpId(i))) {
            const auto& users =
                graph.users(graph.signature().buffers[index].value);
            const auto [first, last] = std::ranges::minmax(users);
            std::fill(cuttable.begin() + first.get() + 1,
                      cuttable.begin() + last.get() + 1,
                      false);
        }
    }
    return cuttable;
}

void check_buffer_updates(const OpGraph& graph,
                          const std::vector<std::size_t>& cuts) {
    for (std::uint32_t i = 0; i < graph.ops().size(); ++i) {
        for (const std::size_t index : changed_buffers(graph, OpId(i))) {
            const ModelBuffer& buffer = graph.signature().buffers[index];
            for (const OpId user : graph.users(buffer.value)) {
                FUSIONLLM_VALIDATE(
                    stage_of(user, cuts) == stage_of(OpId(i), cuts),
                    "op '{}' of stage {} changes buffer '{}', which op '{}' of "
                    "stage {} uses (a buffer is not sent, so both must be in "
                    "one stage); move the end of a stage past both, or train "
                    "with fewer stages",
                    graph.op(OpId(i)).name,
                    stage_of(OpId(i), cuts),
                    buffer.name,
                    graph.op(user).name,
                    stage_of(user, cuts));
            }
        }
    }
}

}  // namespace fusionllm
