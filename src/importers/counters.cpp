#include "counters.hpp"

#include <algorithm>

namespace fusionllm::detail {

std::optional<std::int64_t> find_increment(const ExportedNode& node,
                                           const std::string& counter) {
    const auto other =
        std::ranges::find(node.inputs, "other", &NamedArgument::name);
    if (other == node.inputs.end()) {
        return std::nullopt;
    }
    if (const auto* number = std::get_if<std::int64_t>(&other->value)) {
        return *number;
    }
    return counter.ends_with("num_batches_tracked")
               ? std::optional<std::int64_t>(1)
               : std::nullopt;
}

bool is_new_buffer(const ExportedProgram& program, const std::string& value) {
    return std::ranges::any_of(
        program.outputs, [&](const ExportedOutput& output) {
            return output.kind == ExportedOutput::Kind::mutation &&
                   output.value == value;
        });
}

}  // namespace fusionllm::detail
