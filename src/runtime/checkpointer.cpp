#include "fusionllm/runtime/checkpointer.hpp"

#include <random>

#include "fusionllm/comm/collectives.hpp"
#include "fusionllm/runtime/gradient_exchange.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm {
namespace {

constexpr int root = 0;
constexpr std::uint32_t manifest_slot = 8;
constexpr std::uint32_t problem_slot = 9;
constexpr std::uint32_t verdict_slot = 10;

std::string file_of_group(const Plan& plan, int group) {
    return fmt::format("group-{}-{}.h5", group, plan.groups.at(group).name);
}

}  // namespace

Checkpointer::Checkpointer(Transport& transport, CheckpointerSetup setup)
    : transport_(transport), setup_(std::move(setup)) {}

void Checkpointer::add(const CheckpointTensor& tensor) {
    const auto stage = stage_of(
        setup_.plan, OpId(static_cast<std::uint32_t>(tensor.ops.front())));
    const int group = find_group(
        setup_.plan, setup_.plan.placement.stages[stage].devices.at(0));
    files_[tensor.entry.name] = file_of_group(setup_.plan, group);
    if (group == setup_.group_index) {
        entries_.push_back(tensor.entry);
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

void Checkpointer::on_disks(const std::function<void()>& action) {
    std::string problem;
    if (setup_.owns_disk) {
        say(Phase::writing);
        try {
            action();
        } catch (const std::exception& error) {
            problem = error.what();
        }
    }
    throw_if_any(problem);
}

void Checkpointer::share(CheckpointManifest& manifest) {
    std::string text;
    if (transport_.rank() == root) {
        std::random_device random;
        const auto high = static_cast<std::uint64_t>(random()) << 32;
        text = fmt::format("{} {}", high | random(), manifest.micro_batches);
    }
    text = broadcast(transport_, root, manifest_slot, text);
    const auto numbers = split(text, ' ');
    manifest.save_id = std::stoull(numbers.at(0));
    manifest.micro_batches = std::stoull(numbers.at(1));
}

void Checkpointer::prune(std::uint64_t step) {
    if (!setup_.owns_disk) {
        return;
    }
    try {
        prune_checkpoints(setup_.folder, step, setup_.keep);
    } catch (const std::exception& error) {
        if (setup_.on_warning) {
            setup_.on_warning(
                fmt::format("the checkpoint of step {} is written, but older "
                            "ones are still there: {}",
                            step,
                            error.what()));
        }
    }
}

void Checkpointer::save(CheckpointManifest manifest,
                        const std::vector<Fence>& fences,
                        const std::vector<NamedTensor>& mine) {
    const std::uint64_t step = manifest.step;
    step_ = static_cast<std::uint32_t>(step);
    entries_.clear();
    files_.clear();
    for (const CheckpointTensor& tensor :
         checkpoint_tensors(setup_.graph, fences, setup_.optimizer)) {
        add(tensor);
    }
    say(Phase::checkpoint);
    share(manifest);
    on_disks([&] { begin_checkpoint(setup_.folder, step); });
    std::vector<TensorData> data;
    for (const NamedTensor& tensor : mine) {
        data.push_back({tensor.name, tensor.tensor.bytes});
    }
    std::string problem;
    try {
        if (!entries_.empty()) {
            write_tensors(setup_.folder / fmt::format("step-{}.partial", step) /
                              file_of_group(setup_.plan, setup_.group_index),
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
    on_disks([&] { seal_checkpoint(setup_.folder, manifest); });
    on_disks([&] { commit_checkpoint(setup_.folder, step); });
    prune(step);
}

}  // namespace fusionllm
