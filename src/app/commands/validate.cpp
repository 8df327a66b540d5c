#include <cstdio>

#include "app/commands/commands.hpp"
#include "app/job.hpp"
#include "app/load_data.hpp"

namespace fusionllm {

int run_validate(const InputArguments& arguments) {
    RunInput input = load_run_input(arguments.file, arguments.overrides);
    const ModelSource source = load_model(input);
    input = choose_micro_batches(std::move(input), source, std::nullopt);
    const Job job = make_job(input, source, std::nullopt);
    load_data(input, job.graph);  // throws if it cannot be trained on
    std::printf("%s is a good input: %zu ops, %zu parameter tensors, %zu %s\n",
                arguments.file.c_str(),
                job.graph.ops().size(),
                job.graph.signature().parameters.size(),
                job.topology.devices.size(),
                job.topology.devices.size() == 1 ? "device" : "devices");
    print_notes(source.notes);
    return 0;
}

}  // namespace fusionllm
