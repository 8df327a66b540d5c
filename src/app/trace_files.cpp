#include "app/trace_files.hpp"

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "fusionllm/io/trace_writer.hpp"

namespace fusionllm {

void check_trace(const RunInput& input, const Job& job) {
    if (input.trace.values.empty()) {
        return;
    }
    std::vector<std::string> names;
    const auto& stages = job.plan.placement.stages;
    for (std::size_t s = 0; s + 1 < stages.size(); ++s) {
        for (const ValueId value :
             values_across(job.graph, stages[s].ops.end)) {
            const Value& boundary = job.graph.value(value);
            if (boundary.type.dtype == DType::f32 &&
                std::ranges::find(names, boundary.name) == names.end()) {
                names.push_back(boundary.name);
            }
        }
    }
    check_trace_values(input.trace, names);
}

std::function<void(std::int64_t step, const std::vector<TracedValue>&)>
make_trace_hook(const RunInput& input,
                const Job& job,
                std::size_t stage,
                std::int64_t start_step) {
    const std::map<std::string, std::string> facts{
        {"run", input.run.name},
        {"seed", fmt::format("{}", input.run.seed)},
        {"stage", fmt::format("{}", stage)},
        {"graph", fmt::format("{:016x}", job.plan.graph_hash)}};
    // Not before there is something to write: by then the folder is ready.
    return
        [file = trace_file(input.trace, input.run.output, stage),
         facts,
         start_step,
         &job,
         writer = std::shared_ptr<TraceWriter>()](
            std::int64_t step, const std::vector<TracedValue>& values) mutable {
            if (!writer) {
                writer = std::make_shared<TraceWriter>(file, facts, start_step);
            }
            for (const TracedValue& value : values) {
                const auto* numbers =
                    reinterpret_cast<const float*>(value.tensor.bytes.data());
                writer->append({job.graph.value(value.value).name,
                                value.direction == Direction::forward
                                    ? TraceKind::activation
                                    : TraceKind::gradient,
                                step,
                                value.micro_batch,
                                value.tensor.type.sizes,
                                {numbers, value.tensor.bytes.size() / 4}});
            }
            writer->flush();
        };
}

}  // namespace fusionllm
