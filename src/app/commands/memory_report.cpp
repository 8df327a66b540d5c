#include "app/commands/memory_report.hpp"

#include <set>
#include <vector>

#include <fmt/format.h>

#include "fusionllm/comm/collectives.hpp"
#include "fusionllm/graph/slice.hpp"
#include "fusionllm/util/memory_use.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm {
namespace {

constexpr int root = 0;
constexpr std::uint32_t memory_slot = 18;

std::string to_mebibytes(std::uint64_t bytes) {
    return fmt::format("{:.1f}", static_cast<double>(bytes) / (1 << 20));
}

}  // namespace

std::uint64_t weight_bytes(const Job& job, const RankRole& role) {
    if (!role.stage) {
        return 0;
    }
    const StageSlice slice =
        make_slice(job.graph, job.plan.placement.stages[*role.stage].ops);
    const GraphSignature& signature = job.graph.signature();
    std::set<ValueId> values;
    for (const ParameterUse& use : slice.parameter_uses) {
        values.insert(signature.parameters[use.parameter].value);
    }
    for (const std::size_t buffer : slice.buffers) {
        values.insert(signature.buffers[buffer].value);
    }
    std::uint64_t bytes = 0;
    for (const ValueId value : values) {
        bytes += num_bytes(job.graph.value(value).type);
    }
    return bytes;
}

std::string gather_memory(Transport& transport,
                          std::uint64_t weights,
                          std::uint64_t loaded) {
    const auto texts = gather(transport,
                              root,
                              memory_slot,
                              fmt::format("{}\t{}\t{}",
                                          to_mebibytes(weights),
                                          to_mebibytes(loaded),
                                          to_mebibytes(peak_resident_bytes())));
    std::vector<std::vector<std::string>> rows;
    for (const std::string& text : texts) {
        std::vector<std::string> row{fmt::format("{}", rows.size())};
        for (std::string& cell : split(text, '\t')) {
            row.push_back(std::move(cell));
        }
        rows.push_back(std::move(row));
    }
    return rows.empty() ? ""
                        : format_table({"MiB of rank",
                                        "weights",
                                        "most while loading",
                                        "most in the run"},
                                       rows);
}

}  // namespace fusionllm
