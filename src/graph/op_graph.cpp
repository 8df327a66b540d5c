#include "fusionllm/graph/op_graph.hpp"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "fusionllm/util/error.hpp"

#include "canonical_order.hpp"
#include "gradient_flow.hpp"
#include "remap.hpp"
#include "text_words.hpp"

namespace fusionllm {
namespace {

void check_name(std::unordered_set<std::string>& names,
                const std::string& kind,
                const std::string& name) {
    FUSIONLLM_VALIDATE(
        !name.empty(), "{} has an empty name; give every one a name", kind);
    FUSIONLLM_VALIDATE(names.insert(name).second,
                       "two of the graph's {}s are named '{}'; names must be "
                       "unique, so rename one of them",
                       kind,
                       name);
}

void check_names(const std::vector<Value>& values,
                 const std::vector<Op>& ops,
                 const GraphSignature& signature) {
    std::unordered_set<std::string> value_names;
    for (const Value& value : values) {
        check_name(value_names, "value", value.name);
        FUSIONLLM_VALIDATE(
            std::ranges::all_of(value.type.sizes,
                                [](std::int64_t size) { return size >= 0; }),
            "value '{}' has a negative size in {}; sizes must be known",
            value.name,
            to_text(value.type));
    }
    std::unordered_set<std::string> op_names;
    for (const Op& op : ops) {
        check_name(op_names, "op", op.name);
        // The text form writes target.overload(...).
        FUSIONLLM_VALIDATE(
            op.target.find("::") != std::string::npos &&
                op.target.find('.') == std::string::npos &&
                std::ranges::all_of(op.target + op.overload,
                                    detail::is_word_character),
            "op '{}' has the target '{}', overload '{}'; a target is written "
            "like aten::addmm and an overload like Tensor",
            op.name,
            op.target,
            op.overload);
    }
    std::unordered_set<std::string> parameter_names;
    for (const Parameter& parameter : signature.parameters) {
        check_name(parameter_names, "parameter", parameter.name);
    }
    // Files hold both under their names.
    for (const ModelBuffer& buffer : signature.buffers) {
        check_name(parameter_names, "buffer", buffer.name);
    }
}

//! Check that every value has one source.
class SourceChecker {
public:
    explicit SourceChecker(const std::vector<Value>& values)
        : values_(values), sources_(values.size()) {}

    void check_exists(ValueId value, const std::string& user) const {
        FUSIONLLM_VALIDATE(value.get() < values_.size(),
                           "{} uses value number {}, but the graph has only "
                           "{} values; declare the value first",
                           user,
                           value.get(),
                           values_.size());
    }

    void add(ValueId value, const std::string& source) {
        check_exists(value, source);
        std::string& known = sources_[value.get()];
        FUSIONLLM_VALIDATE(known.empty(),
                           "value '{}' has two sources, {} and {}; a value is "
                           "made once",
                           values_[value.get()].name,
                           known,
                           source);
        known = source;
    }

    void check_complete() const {
        for (std::size_t v = 0; v < values_.size(); ++v) {
            FUSIONLLM_VALIDATE(!sources_[v].empty(),
                               "value '{}' has no source; make it an input, a "
                               "parameter, a buffer or the output of an op",
                               values_[v].name);
        }
    }

private:
    const std::vector<Value>& values_;
    std::vector<std::string> sources_;  // by value
};

void check_sources(const std::vector<Value>& values,
                   const std::vector<Op>& ops,
                   const GraphSignature& signature) {
    SourceChecker checker(values);
    for (const ValueId input : signature.inputs) {
        checker.add(input, "the inputs");
    }
    for (const Parameter& parameter : signature.parameters) {
        checker.add(parameter.value, "parameter '" + parameter.name + "'");
    }
    for (const ModelBuffer& buffer : signature.buffers) {
        checker.add(buffer.value, "buffer '" + buffer.name + "'");
    }
    for (const Op& op : ops) {
        const std::string user = "op '" + op.name + "'";
        for (const ValueId value : used_values(op)) {
            checker.check_exists(value, user);
        }
        for (const ValueId output : op.outputs) {
            checker.add(output, user);
        }
    }
    checker.check_complete();
}

void check_signature(const std::vector<Value>& values,
                     const GraphSignature& signature) {
    FUSIONLLM_VALIDATE(signature.num_labels <= signature.inputs.size(),
                       "the graph has {} labels but only {} inputs; labels "
                       "are the last of the inputs",
                       signature.num_labels,
                       signature.inputs.size());
    const SourceChecker checker(values);
    if (signature.output) {
        checker.check_exists(*signature.output, "the graph's output");
    }
    if (signature.loss) {
        checker.check_exists(*signature.loss, "the graph's loss");
        const Value& loss = values[signature.loss->get()];
        FUSIONLLM_VALIDATE(loss.type == TensorType{},
                           "the loss '{}' is {}; it must be one f32 number, "
                           "e.g. the mean over the micro-batch",
                           loss.name,
                           to_text(loss.type));
    }
}

//! New id of every value: inputs, parameters, buffers, outputs of ops in order.
std::vector<ValueId> number_values(std::size_t num_values,
                                   const std::vector<Op>& ops,
                                   const GraphSignature& signature) {
    std::vector<ValueId> new_ids(num_values, ValueId(0));
    std::uint32_t next = 0;
    for (const ValueId input : signature.inputs) {
        new_ids[input.get()] = ValueId(next++);
    }
    for (const Parameter& parameter : signature.parameters) {
        new_ids[parameter.value.get()] = ValueId(next++);
    }
    for (const ModelBuffer& buffer : signature.buffers) {
        new_ids[buffer.value.get()] = ValueId(next++);
    }
    for (const Op& op : ops) {
        for (const ValueId output : op.outputs) {
            new_ids[output.get()] = ValueId(next++);
        }
    }
    return new_ids;
}

}  // namespace

OpGraph::OpGraph(std::string name,
                 std::vector<Value> values,
                 std::vector<Op> ops,
                 GraphSignature signature)
    : name_(std::move(name)),
      values_(values),
      producers_(values.size()),
      users_(values.size()),
      parameter_(values.size()),
      buffer_(values.size()) {
    check_names(values, ops, signature);
    check_sources(values, ops, signature);
    check_signature(values, signature);

    for (const std::size_t i :
         detail::canonical_order(name_, values, ops, signature)) {
        ops_.push_back(std::move(ops[i]));
    }
    const auto new_ids = number_values(values.size(), ops_, signature);
    const auto new_id = [&](ValueId old) { return new_ids[old.get()]; };
    signature_ = detail::with_values_mapped(std::move(signature), new_id);
    for (std::size_t v = 0; v < values.size(); ++v) {
        values_[new_ids[v].get()] = std::move(values[v]);
    }
    for (Op& op : ops_) {
        op = detail::with_inputs_mapped(std::move(op), new_id);
        std::ranges::transform(op.outputs, op.outputs.begin(), new_id);
    }
    index_values();
    has_gradient_ = detail::find_gradients(values_, ops_, signature_);
}

void OpGraph::index_values() {
    for (std::uint32_t i = 0; i < ops_.size(); ++i) {
        for (const ValueId output : ops_[i].outputs) {
            producers_[output.get()] = OpId(i);
        }
        for (const ValueId value : used_values(ops_[i])) {
            auto& users = users_[value.get()];
            if (users.empty() || users.back() != OpId(i)) {
                users.push_back(OpId(i));
            }
        }
    }
    for (std::size_t p = 0; p < signature_.parameters.size(); ++p) {
        parameter_[signature_.parameters[p].value.get()] = p;
    }
    for (std::size_t b = 0; b < signature_.buffers.size(); ++b) {
        buffer_[signature_.buffers[b].value.get()] = b;
    }
}

std::optional<OpId> OpGraph::producer(ValueId id) const {
    return producers_.at(id.get());
}

const std::vector<OpId>& OpGraph::users(ValueId id) const {
    return users_.at(id.get());
}

std::optional<std::size_t> OpGraph::parameter_index(ValueId id) const {
    return parameter_.at(id.get());
}

std::optional<std::size_t> OpGraph::buffer_index(ValueId id) const {
    return buffer_.at(id.get());
}

}  // namespace fusionllm
