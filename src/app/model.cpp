#include "app/model.hpp"

#include "fusionllm/graph/restart.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

OpGraph restart_after(const OpGraph& graph, const CompressionSection& section) {
    try {
        return restart_at(graph,
                          find_cut(graph, section.cut_after),
                          section.restart == "zeros" ? RestartKind::zeros
                                                     : RestartKind::embedding);
    } catch (const InputError& error) {
        throw InputError(fmt::format(
            "'cut_after' = \"{}\" in [compression], of rule = \"cut\": {}",
            section.cut_after,
            error.what()));
    }
}

}  // namespace

OpGraph make_model(const RunInput& input) {
    FUSIONLLM_EXPECTS(input.micro_batches > 0);
    const std::int64_t micro_batch = input.train.batch / input.micro_batches;
    OpGraph graph = input.model_kind == "resnet"
                        ? make_resnet(input.resnet, micro_batch)
                        : make_gpt2(input.model, micro_batch);
    return input.compression.options.rule == "cut"
               ? restart_after(graph, input.compression)
               : graph;
}

}  // namespace fusionllm
