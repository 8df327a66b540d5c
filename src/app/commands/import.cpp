#include <cstdio>

#include "fusionllm/util/output_file.hpp"
#include "fusionllm/util/units.hpp"

#include "app/commands/commands.hpp"
#include "app/model.hpp"
#include "app/model_file.hpp"

namespace fusionllm {
namespace {

void print_summary(const ModelFileGraph& model,
                   const std::filesystem::path& output) {
    std::int64_t elements = 0;
    for (const Parameter& parameter : model.graph.signature().parameters) {
        elements += num_elements(model.graph.value(parameter.value).type);
    }
    fmt::print(
        "model '{}': {} ops, {} parameters in {} tensors, {} buffers, for "
        "micro-batches of {}; written to {} ({})\n",
        model.graph.name(),
        model.graph.ops().size(),
        elements,
        model.graph.signature().parameters.size(),
        model.graph.signature().buffers.size(),
        micro_batch_of(model.graph),
        output.string(),
        format_bytes(static_cast<double>(std::filesystem::file_size(output))));
    print_notes(model.notes);
}

}  // namespace

int run_import(const ImportArguments& arguments) {
    check_output_file(arguments.output, {arguments.model});
    const std::string kind = model_kind_of(arguments.model);
    const ModelFileGraph model = read_model_graph(kind, arguments.model);
    micro_batch_of(model.graph);
    const ModelFileWeights weights = read_model_weights(kind, arguments.model);
    write_as_model_file(arguments.output, model, weights);
    print_summary(model, arguments.output);
    return 0;
}

}  // namespace fusionllm
