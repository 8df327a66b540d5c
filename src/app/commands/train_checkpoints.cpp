#include "app/commands/train_checkpoints.hpp"

#include "fusionllm/graph/decompose.hpp"
#include "fusionllm/runtime/checkpoint_tensors.hpp"

#include "app/versions.hpp"

namespace fusionllm {

std::vector<std::string> tensors_to_load(const Job& job,
                                         const RunInput& input,
                                         const RankRole& role) {
    if (!role.stage) {
        return {};
    }
    return checkpoint_tensors_of(
        checkpoint_tensors(job.graph, job.plan.fences, input.train.optimizer),
        job.plan,
        *role.stage);
}

CheckpointManifest make_manifest(const Job& job,
                                 const RunInput& input,
                                 const std::string& resolved_input,
                                 std::int64_t step) {
    CheckpointManifest manifest;
    manifest.step = static_cast<std::uint64_t>(step);
    manifest.seed = static_cast<std::uint64_t>(input.run.seed);
    manifest.graph_hash = portable_hash(job.graph);
    manifest.samples = static_cast<std::uint64_t>(step * input.train.batch);
    manifest.optimizer = input.train.optimizer.kind;
    manifest.plan = to_text(job.plan, job.graph);
    manifest.input = resolved_input;
    for (const auto& [name, version] : list_versions()) {
        manifest.versions[name] = version;
    }
    return manifest;
}

}  // namespace fusionllm
