#include "fusionllm/graph/graph_builder.hpp"

#include <utility>

#include "fusionllm/util/error.hpp"

namespace fusionllm {

ValueId GraphBuilder::add_value(std::string name, TensorType type) {
    values_.push_back({std::move(name), std::move(type)});
    return ValueId(static_cast<std::uint32_t>(values_.size() - 1));
}

ValueId GraphBuilder::add_input(const std::string& name, TensorType type) {
    FUSIONLLM_VALIDATE(signature_.num_labels == 0,
                       "input '{}' comes after a label; labels are the last "
                       "of the inputs, so add it before them",
                       name);
    const ValueId value = add_value(name, std::move(type));
    signature_.inputs.push_back(value);
    return value;
}

ValueId GraphBuilder::add_label(const std::string& name, TensorType type) {
    const ValueId value = add_value(name, std::move(type));
    signature_.inputs.push_back(value);
    ++signature_.num_labels;
    return value;
}

ValueId GraphBuilder::add_parameter(const std::string& name,
                                    TensorType type,
                                    Initializer initializer) {
    const bool has_weight_decay = type.sizes.size() > 1;
    const ValueId value = add_value(name, std::move(type));
    signature_.parameters.push_back(
        {name, value, initializer, has_weight_decay});
    return value;
}

ValueId GraphBuilder::add_buffer(const std::string& name,
                                 TensorType type,
                                 Initializer initializer) {
    const ValueId value = add_value(name, std::move(type));
    signature_.buffers.push_back({name, value, initializer});
    return value;
}

ValueId GraphBuilder::add_op(const std::string& name,
                             std::string_view target,
                             std::vector<Argument> arguments,
                             TensorType output) {
    return add_op_with_outputs(
               name, target, std::move(arguments), {std::move(output)})
        .front();
}

std::vector<ValueId> GraphBuilder::add_op_with_outputs(
    const std::string& name,
    std::string_view target,
    std::vector<Argument> arguments,
    const std::vector<TensorType>& outputs) {
    const std::size_t dot = target.find('.');
    const bool has_overload = dot != std::string_view::npos;
    Op op{name,
          std::string(target.substr(0, dot)),
          std::string(has_overload ? target.substr(dot + 1) : ""),
          std::move(arguments),
          {}};
    for (std::size_t i = 0; i < outputs.size(); ++i) {
        op.outputs.push_back(add_value(
            outputs.size() == 1 ? name : name + ":" + std::to_string(i),
            outputs[i]));
    }
    ops_.push_back(op);
    return op.outputs;
}

}  // namespace fusionllm
