#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "fusionllm/graph/graph_hash.hpp"
#include "fusionllm/util/hash.hpp"

#include "text_words.hpp"

namespace fusionllm {
namespace {

using detail::write_double;
using detail::write_name;
using detail::write_quoted;

constexpr const char* initializer_names[] = {
    "zeros", "ones", "normal", "uniform"};

class ArgumentWriter {
public:
    explicit ArgumentWriter(const OpGraph& graph) : graph_(graph) {}

    std::string operator()(NoArgument) const { return "None"; }
    std::string operator()(ValueId id) const {
        return '%' + write_name(graph_.value(id).name);
    }
    std::string operator()(bool flag) const { return flag ? "true" : "false"; }
    std::string operator()(std::int64_t number) const {
        return std::to_string(number);
    }
    std::string operator()(double number) const { return write_double(number); }
    std::string operator()(const std::string& text) const {
        return write_quoted(text);
    }
    std::string operator()(DType dtype) const {
        return std::string(to_text(dtype));
    }
    // Lists say what they hold, or an empty one would not tell.
    std::string operator()(const std::vector<std::int64_t>& list) const {
        return write_list("", list);
    }
    std::string operator()(const std::vector<double>& list) const {
        return write_list("floats", list);
    }
    std::string operator()(const std::vector<bool>& list) const {
        return write_list("bools", list);
    }
    std::string operator()(const std::vector<ValueOrNone>& list) const {
        return write_list("values", list);
    }
    std::string operator()(const ValueOrNone& element) const {
        return std::visit(*this, element);
    }

private:
    template <class List>
    std::string write_list(std::string text, const List& list) const {
        text += '[';
        for (std::size_t i = 0; i < list.size(); ++i) {
            const typename List::value_type element = list[i];
            text += (i == 0 ? "" : ", ") + (*this)(element);
        }
        return text + ']';
    }

    const OpGraph& graph_;
};

std::string write_value(const OpGraph& graph, ValueId id) {
    return ArgumentWriter(graph)(id) + ' ' + to_text(graph.value(id).type);
}

std::string write_initializer(const Initializer& initializer) {
    const auto [kind, scale] = initializer;
    return initializer_names[static_cast<int>(kind)] +
           (scale == 0 ? "" : '(' + write_double(scale) + ')');
}

std::string write_parameter(const OpGraph& graph, const Parameter& parameter) {
    return fmt::format("parameter {} {} {} {}\n",
                       write_name(parameter.name),
                       write_value(graph, parameter.value),
                       write_initializer(parameter.initializer),
                       parameter.has_weight_decay ? "decay" : "no_decay");
}

std::string write_buffer(const OpGraph& graph, const ModelBuffer& buffer) {
    return fmt::format("buffer {} {} {}\n",
                       write_name(buffer.name),
                       write_value(graph, buffer.value),
                       write_initializer(buffer.initializer));
}

std::string write_op(const OpGraph& graph, const Op& op) {
    std::string text;
    for (const ValueId output : op.outputs) {
        text += (text.empty() ? "" : ", ") + write_value(graph, output);
    }
    text += fmt::format("{}= {} {}{}{}(",
                        text.empty() ? "" : " ",
                        write_name(op.name),
                        op.target,
                        op.overload.empty() ? "" : ".",
                        op.overload);
    for (std::size_t i = 0; i < op.arguments.size(); ++i) {
        text += (i == 0 ? "" : ", ") +
                std::visit(ArgumentWriter(graph), op.arguments[i]);
    }
    return text + ")\n";
}

}  // namespace

std::string to_text(const OpGraph& graph) {
    const GraphSignature& signature = graph.signature();
    std::string text = "graph " + write_name(graph.name()) + '\n';
    const std::size_t first_label =
        signature.inputs.size() - signature.num_labels;
    for (std::size_t i = 0; i < signature.inputs.size(); ++i) {
        text += (i < first_label ? "input " : "label ") +
                write_value(graph, signature.inputs[i]) + '\n';
    }
    for (const Parameter& parameter : signature.parameters) {
        text += write_parameter(graph, parameter);
    }
    for (const ModelBuffer& buffer : signature.buffers) {
        text += write_buffer(graph, buffer);
    }
    for (const Op& op : graph.ops()) {
        text += write_op(graph, op);
    }
    if (signature.loss) {
        text += "loss " + ArgumentWriter(graph)(*signature.loss) + '\n';
    }
    if (signature.output) {
        text += "output " + ArgumentWriter(graph)(*signature.output) + '\n';
    }
    return text;
}

std::uint64_t graph_hash(const OpGraph& graph) {
    const std::string text = to_text(graph);
    return hash_text(std::string_view(text).substr(text.find('\n') + 1));
}

bool is_graph_hash(std::uint64_t hash, const OpGraph& graph) {
    return hash == graph_hash(graph) || hash == hash_text(to_text(graph));
}

}  // namespace fusionllm
