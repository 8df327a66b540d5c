#include "fusionllm/graph/op.hpp"

namespace fusionllm {

std::vector<ValueId> used_values(const Op& op) {
    std::vector<ValueId> values;
    for (const Argument& argument : op.arguments) {
        if (const auto* value = std::get_if<ValueId>(&argument)) {
            values.push_back(*value);
        } else if (const auto* list =
                       std::get_if<std::vector<ValueOrNone>>(&argument)) {
            for (const ValueOrNone& element : *list) {
                if (const auto* item = std::get_if<ValueId>(&element)) {
                    values.push_back(*item);
                }
            }
        }
    }
    return values;
}

}  // namespace fusionllm
