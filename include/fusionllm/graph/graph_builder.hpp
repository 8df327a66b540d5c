#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm {

/*!
 * Collects the inputs, parameters, buffers and ops of a graph one by one.
 *
 * A value is named like the op that makes it, "name:i" if it makes several. The
 * types of outputs are given, not derived: nothing here knows the operators.
 *
 *     GraphBuilder graph("line");
 *     const ValueId x = graph.add_input("x", {DType::f32, {8, 4}});
 *     const ValueId w = graph.add_parameter(
 *         "w", {DType::f32, {2, 4}}, {Initializer::Kind::normal, 0.02});
 *     const ValueId y = graph.add_op(
 *         "y", "aten::linear", {x, w, NoArgument{}}, {DType::f32, {8, 2}});
 */
class GraphBuilder {
public:
    explicit GraphBuilder(std::string name) : name_(std::move(name)) {}

    ValueId add_input(const std::string& name, TensorType type);
    //! An input that only the loss needs; inputs after it must be labels.
    ValueId add_label(const std::string& name, TensorType type);
    //! With weight decay if it has two or more dimensions.
    ValueId add_parameter(const std::string& name,
                          TensorType type,
                          Initializer initializer);

    ValueId add_buffer(const std::string& name,
                       TensorType type,
                       Initializer initializer);

    //! One call; `target` with its overload, e.g. "aten::transpose.int".
    ValueId add_op(const std::string& name,
                   std::string_view target,
                   std::vector<Argument> arguments,
                   TensorType output);
    std::vector<ValueId> add_op_with_outputs(
        const std::string& name,
        std::string_view target,
        std::vector<Argument> arguments,
        const std::vector<TensorType>& outputs);

    //! Type of a value that was added.
    const TensorType& type(ValueId value) const {
        return values_.at(value.get()).type;
    }
    void set_loss(ValueId value) { signature_.loss = value; }
    void set_output(ValueId value) { signature_.output = value; }

    //! Throws `InputError` like the constructor of `OpGraph`.
    OpGraph build() const { return {name_, values_, ops_, signature_}; }

private:
    ValueId add_value(std::string name, TensorType type);

    std::string name_;
    std::vector<Value> values_;
    std::vector<Op> ops_;
    GraphSignature signature_;
};

}  // namespace fusionllm
