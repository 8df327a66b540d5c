#include "fusionllm/runtime/checkpointer.hpp"

#include <algorithm>

#include "fusionllm/comm/collectives.hpp"
#include "fusionllm/runtime/fence_codecs.hpp"
#include "fusionllm/runtime/gradient_exchange.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

namespace fusionllm {
namespace {

constexpr int root = 0;
constexpr std::uint32_t folder_slot = 8;
constexpr std::uint32_t problem_slot = 9;
constexpr std::uint32_t verdict_slot = 10;

std::string file_of_group(const Plan& plan, int group) {
    return fmt::format("group-{}-{}.h5", group, plan.groups.at(group).name);
}

//! Rank 0's sign in a folder, by which others see whether they share it.
std::filesystem::path token_file(const std::filesystem::path& folder) {
    return folder / ".rank-0-was-here";
}

}  // namespace

Checkpointer::Checkpointer(Transport& transport, CheckpointerSetup setup)
    : transport_(transport), setup_(std::move(setup)) {}

void Checkpointer::add(const TensorEntry& entry, std::size_t op) {
    const auto stage =
        stage_of(setup_.plan, OpId(static_cast<std::uint32_t>(op)));
    const int group = find_group(
        setup_.plan, setup_.plan.placement.stages[stage].devices.at(0));
    files_[entry.name] = file_of_group(setup_.plan, group);
    if (group == setup_.group_index) {
        entries_.push_back(entry);
    }
}

void Checkpointer::add_parameters() {
    const auto& parameters = setup_.graph.signature().parameters;
    for (std::size_t p = 0; p < parameters.size(); ++p) {
        const auto uses = uses_of_parameter(setup_.graph, p);
        if (uses.empty()) {
            continue;
        }
        const std::size_t op = uses.front().op.get();
        const TensorType& type = setup_.graph.value(parameters[p].value).type;
        add({parameter_tensor_name(parameters[p].name), type}, op);
        for (const auto& [state, state_type] :
             state_types(setup_.optimizer, type)) {
            add({state_tensor_name(parameters[p].name, state), state_type}, op);
        }
    }
}

void Checkpointer::add_buffers() {
    for (const ModelBuffer& buffer : setup_.graph.signature().buffers) {
        const auto& users = setup_.graph.users(buffer.value);
        if (!users.empty()) {
            add({buffer_tensor_name(buffer.name),
                 setup_.graph.value(buffer.value).type},
                users.front().get());
        }
    }
}

void Checkpointer::say(Phase phase) const {
    if (setup_.on_activity) {
        setup_.on_activity({step_, phase, 0});
    }
}

void Checkpointer::throw_if_any(const std::string& problem) {
    say(Phase::checkpoint);
    std::string verdict;
    const auto problems = gather(transport_, root, problem_slot, problem);
    for (std::size_t rank = 0; rank < problems.size() && verdict.empty();
         ++rank) {
        if (!problems[rank].empty()) {
            verdict = fmt::format("rank {}: {}", rank, problems[rank]);
        }
    }
    verdict = broadcast(transport_, root, verdict_slot, verdict);
    if (!verdict.empty()) {
        throw Error("the checkpoint was not written; " + verdict);
    }
}

bool Checkpointer::open_folder(std::uint64_t step) {
    const bool is_root = transport_.rank() == root;
    std::filesystem::path folder;
    std::string problem;
    if (is_root) {
        say(Phase::writing);
        try {
            folder = begin_checkpoint(setup_.folder, step);
            write_file(token_file(folder), "\n");
        } catch (const Error& error) {
            problem = error.what();
        }
    }
    throw_if_any(problem);
    folder = broadcast(transport_, root, folder_slot, folder.string());
    bool has_own_disk = is_root;
    if (!is_root && setup_.group.rank() == 0 &&
        !std::filesystem::exists(token_file(folder))) {
        say(Phase::writing);
        try {
            begin_checkpoint(setup_.folder, step);
            has_own_disk = true;
        } catch (const Error& error) {
            problem = error.what();
        }
    }
    throw_if_any(problem);
    return has_own_disk;
}

void Checkpointer::save(CheckpointManifest manifest,
                        const std::vector<Fence>& fences,
                        const std::vector<NamedTensor>& mine) {
    step_ = static_cast<std::uint32_t>(manifest.step);
    entries_.clear();
    files_.clear();
    add_parameters();
    add_buffers();
    for (const Fence& fence : fences) {
        for (const FenceTensor& tensor : fence_tensors(setup_.graph, fence)) {
            const bool is_before = tensor.direction == Direction::forward;
            add({tensor.name, tensor.type}, fence.cut - (is_before ? 1 : 0));
        }
    }
    const bool has_own_disk = open_folder(manifest.step);
    const auto folder =
        setup_.folder / fmt::format("step-{}.partial", manifest.step);
    std::vector<TensorData> data;
    for (const NamedTensor& tensor : mine) {
        data.push_back({tensor.name, tensor.tensor.bytes});
    }
    std::string problem;
    try {
        if (!entries_.empty()) {
            write_tensors(
                folder / file_of_group(setup_.plan, setup_.group_index),
                {setup_.group.get(),
                 [this](WritePart part) {
                     say(part == WritePart::own ? Phase::writing
                                                : Phase::checkpoint);
                 }},
                entries_,
                data);
        }
    } catch (const Error& error) {
        problem = error.what();
    }
    throw_if_any(problem);
    manifest.tensors = files_;
    if (has_own_disk) {
        say(Phase::writing);
        try {
            std::filesystem::remove(token_file(folder));
            commit_checkpoint(setup_.folder, manifest);
            prune_checkpoints(setup_.folder, setup_.keep);
        } catch (const std::exception& error) {
            problem = error.what();
        }
    }
    throw_if_any(problem);
}

}  // namespace fusionllm
