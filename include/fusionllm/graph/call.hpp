#pragma once

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fusionllm/graph/graph_builder.hpp"

namespace fusionllm {

//! A call of an ATen operator by argument names, before it becomes ops.
struct Call {
    std::string name;      //!< of the op, unique but for what it is split into
    std::string target;    //!< "aten::linear"
    std::string overload;  //!< "" for default
    std::vector<std::pair<std::string, Argument>> arguments;
    std::vector<TensorType> outputs;
    std::string where;  //!< " (File ...)" or empty, for messages

    //! Null if it is not given.
    const Argument* find(std::string_view argument) const;
    //! Throws `InputError` if it is not given or no tensor.
    ValueId tensor(std::string_view argument) const;
};

//! "aten::linear" or "aten::add.Tensor".
std::string full_name(const Call& call);
std::string full_name(const Op& op);

//! Adds ops to a graph and keeps their names apart.
class OpWriter {
public:
    explicit OpWriter(GraphBuilder& graph) : graph_(graph) {}

    //! The name, or the name with a number that makes it unique.
    std::string unique(const std::string& name);
    //! A unique name that one `write` will take as it is.
    std::string reserve(const std::string& name);
    ValueId write(const std::string& name,
                  std::string_view target,
                  std::vector<Argument> arguments,
                  TensorType output);
    std::vector<ValueId> write_all(const std::string& name,
                                   std::string_view target,
                                   std::vector<Argument> arguments,
                                   const std::vector<TensorType>& outputs);
    const TensorType& type(ValueId value) const { return graph_.type(value); }

private:
    GraphBuilder& graph_;
    std::set<std::string> names_;
    std::set<std::string> reserved_;
};

}  // namespace fusionllm
