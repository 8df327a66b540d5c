#pragma once

#include <concepts>
#include <utility>
#include <variant>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm::detail {

//! The op with every value that it reads replaced; its outputs stay.
template <std::invocable<ValueId> Map>
Op with_inputs_mapped(Op op, Map&& map) {
    for (Argument& argument : op.arguments) {
        if (auto* value = std::get_if<ValueId>(&argument)) {
            *value = map(*value);
        } else if (auto* list =
                       std::get_if<std::vector<ValueOrNone>>(&argument)) {
            for (ValueOrNone& element : *list) {
                if (auto* value = std::get_if<ValueId>(&element)) {
                    *value = map(*value);
                }
            }
        }
    }
    return op;
}

//! The signature with every value that it names replaced.
template <std::invocable<ValueId> Map>
GraphSignature with_values_mapped(GraphSignature signature, Map&& map) {
    for (Parameter& parameter : signature.parameters) {
        parameter.value = map(parameter.value);
    }
    for (ModelBuffer& buffer : signature.buffers) {
        buffer.value = map(buffer.value);
    }
    for (ValueId& input : signature.inputs) {
        input = map(input);
    }
    if (signature.loss) {
        signature.loss = map(*signature.loss);
    }
    if (signature.output) {
        signature.output = map(*signature.output);
    }
    return signature;
}

}  // namespace fusionllm::detail
