#include "graph_importer.hpp"

#include <algorithm>
#include <set>
#include <tuple>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

#include "alias_tracker.hpp"
#include "call.hpp"
#include "counters.hpp"
#include "in_place.hpp"
#include "operator_memory.hpp"

namespace fusionllm::detail {
namespace {

using Locations = std::map<std::string, WeightLocation>;

//! Checks of the exporter that compute nothing.
bool is_check(const std::string& target) {
    return target.starts_with("aten::_assert") ||
           target == "aten::sym_constrain_range" ||
           target == "aten::sym_constrain_range_for_size";
}

class GraphImporter {
public:
    GraphImporter(const std::string& name,
                  const ExportedProgram& program,
                  const Locations& weights)
        : program_(program), weights_(weights), graph_(name), writer_(graph_) {}

    ImportedGraph import() {
        // Parameters keep their names; everything else gives way.
        for (const ExportedInput& input : program_.inputs) {
            if (input.kind != ExportedInput::Kind::user) {
                add_weight(input);
            }
        }
        for (const ExportedInput& input : program_.inputs) {
            if (input.kind == ExportedInput::Kind::user) {
                define(input.value,
                       graph_.add_input(writer_.unique(input.value),
                                        type_of(input.value)));
            }
        }
        for (std::size_t i = 0; i < program_.nodes.size(); ++i) {
            import_node(program_.nodes[i], i);
        }
        set_outputs();
        note_unused_inputs();
        return {graph_.build(),
                std::move(shared_names_),
                std::move(counters_),
                std::move(notes_)};
    }

private:
    const ExportedTensor& tensor(const std::string& name) const {
        const auto refused = program_.refused_tensors.find(name);
        FUSIONLLM_VALIDATE(refused == program_.refused_tensors.end(),
                           "the exported tensor '{}' cannot be imported: {}",
                           name,
                           refused->second);
        const auto found = program_.tensors.find(name);
        FUSIONLLM_VALIDATE(found != program_.tensors.end(),
                           "the exported graph says nothing of the tensor "
                           "'{}'; the archive is damaged",
                           name);
        return found->second;
    }
    const TensorType& type_of(const std::string& name) const {
        return tensor(name).type;
    }

    void define(const std::string& name, ValueId value) {
        FUSIONLLM_VALIDATE(values_.emplace(name, value).second,
                           "the exported graph makes the tensor '{}' twice; "
                           "the archive is damaged",
                           name);
    }
    /*!
     * Complex parameters are trained as pairs of real numbers, like PyTorch's
     * optimizers do. They become complex where they are used, and not before
     * the first op: what crosses a cut is then never a parameter.
     */
    ValueId value(const std::string& name, const ExportedNode& node) {
        const ValueId found = find_value(name, node);
        const auto is_pairs = complex_parameters_.find(found);
        return is_pairs == complex_parameters_.end()
                   ? found
                   : writer_.write(is_pairs->second + ".complex",
                                   "aten::view_as_complex",
                                   {found},
                                   type_of(name));
    }
    ValueId find_value(const std::string& name,
                       const ExportedNode& node) const {
        const auto found = values_.find(name);
        FUSIONLLM_VALIDATE(found != values_.end(),
                           "{} reads the tensor '{}', which nothing makes "
                           "before{}; the archive is damaged",
                           node.target,
                           name,
                           where(node));
        return found->second;
    }

    void add_weight(const ExportedInput& input) {
        const TensorType& type = type_of(input.value);
        const auto weight = weights_.find(input.name);
        FUSIONLLM_VALIDATE(
            weight != weights_.end() && weight->second.type == type,
            "the archive does not hold the tensor '{}' as {}; "
            "export the model again",
            input.name,
            to_text(type));
        const bool is_trained = input.kind == ExportedInput::Kind::parameter &&
                                tensor(input.value).requires_grad;
        if (is_trained) {
            add_parameter(input, weight->second);
            return;
        }
        define(input.value,
               graph_.add_buffer(writer_.unique(input.name), type, {}));
        buffers_.insert(input.value);
    }

    void add_parameter(const ExportedInput& input,
                       const WeightLocation& weight) {
        FUSIONLLM_VALIDATE(
            weight.type.dtype == DType::f32 || weight.type.dtype == DType::c64,
            "parameter '{}' is {}; only parameters of f32, or "
            "of complex numbers of f32, are trained, so convert "
            "the model before the export, e.g. by float()",
            input.name,
            to_text(weight.type));
        const auto first = std::ranges::find(
            parameters_, weight, [](const auto& p) { return p.second; });
        if (first != parameters_.end()) {
            define(input.value, values_.at(first->first.value));
            shared_names_[input.name] = first->first.name;
            return;
        }
        parameters_.emplace_back(input, weight);
        const ValueId parameter = graph_.add_parameter(
            writer_.unique(input.name), as_real(weight.type), {});
        define(input.value, parameter);
        if (is_complex(weight.type.dtype)) {
            complex_parameters_.emplace(parameter, input.name);
        }
    }

    Argument to_argument(const NamedArgument& argument,
                         const ExportedNode& node) {
        if (const auto* name = std::get_if<TensorName>(&argument.value)) {
            return value(name->name, node);
        }
        if (const auto* list =
                std::get_if<std::vector<std::optional<std::string>>>(
                    &argument.value)) {
            std::vector<ValueOrNone> values;
            for (const auto& name : *list) {
                values.push_back(name ? ValueOrNone(value(*name, node))
                                      : NoArgument{});
            }
            return values;
        }
        if (const auto* other = std::get_if<Unsupported>(&argument.value)) {
            throw InputError(
                fmt::format("{} is given {} as '{}'{}, which cannot be "
                            "imported; write the model without it, with fixed "
                            "sizes",
                            node.target,
                            other->what,
                            argument.name,
                            where(node)));
        }
        return std::visit(
            [](const auto& constant) -> Argument {
                if constexpr (std::is_constructible_v<
                                  Argument,
                                  std::in_place_type_t<
                                      std::decay_t<decltype(constant)>>,
                                  decltype(constant)>) {
                    return constant;
                } else {
                    return NoArgument{};
                }
            },
            argument.value);
    }

    std::string op_name(const ExportedNode& node) const {
        const auto named = std::ranges::find_if(
            node.outputs, [](const std::string& o) { return !o.empty(); });
        const std::string name =
            named == node.outputs.end() ? node.target : *named;
        return node.module.empty() ? name : node.module + "." + name;
    }

    Call make_call(const ExportedNode& node) {
        Call call;
        std::tie(call.target, call.overload) = split_target(node);
        call.name = writer_.reserve(op_name(node));
        call.where = where(node);
        FUSIONLLM_VALIDATE(!node.unsupported_output,
                           "{} makes {}{}: what the model does would depend on "
                           "its data; write the model without it",
                           node.target,
                           *node.unsupported_output,
                           call.where);
        for (const NamedArgument& argument : node.inputs) {
            call.arguments.emplace_back(argument.name,
                                        to_argument(argument, node));
        }
        for (const std::string& output : node.outputs) {
            FUSIONLLM_VALIDATE(!output.empty(),
                               "{} does not make all of its tensors{}",
                               node.target,
                               call.where);
            call.outputs.push_back(type_of(output));
        }
        return call;
    }

    void import_node(const ExportedNode& node, std::size_t position) {
        const std::string target = split_target(node).first;
        if (is_check(target)) {
            return;
        }
        const std::string changed = own_name(changed_tensor(node, target));
        if (buffers_.contains(changed)) {
            import_buffer_update(node, target, changed);
            return;
        }
        if (is_functional_count(node, target)) {
            return;
        }
        const OperatorMemory memory = memory_of(node);
        check_written(node, memory);
        Call call = make_call(node);
        if (!changed.empty()) {
            aliases_.check_change(program_, position, changed, where(node));
            call = make_functional(std::move(call));
        }
        // PyTorch's exports detach constants so.
        const std::vector<ValueId> outputs =
            call.target == "aten::detach" && is_constant(program_, changed)
                ? std::vector<ValueId>{value(changed, node)}
                : write_call(call, writer_);
        FUSIONLLM_VALIDATE(
            outputs.size() <= node.outputs.size() && !outputs.empty(),
            "{} makes no tensor{}; the archive is damaged",
            node.target,
            call.where);
        for (std::size_t i = 0; i < outputs.size(); ++i) {
            define(node.outputs[i], outputs[i]);
        }
        if (!changed.empty()) {
            values_.at(changed) = outputs.front();
        }
        aliases_.add(memory);
    }

    //! A counter's own name, where it is called as it was changed before.
    std::string own_name(const std::string& name) const {
        const auto counted = counted_.find(name);
        return counted == counted_.end() ? name : counted->second;
    }

    //! The exported name of what the node changes in place, or nothing.
    std::string changed_tensor(const ExportedNode& node,
                               const std::string& target) const {
        if (!is_in_place(target)) {
            return "";
        }
        const auto* self =
            node.inputs.empty()
                ? nullptr
                : std::get_if<TensorName>(&node.inputs.front().value);
        FUSIONLLM_VALIDATE(self != nullptr,
                           "{} changes no tensor{}; the archive is damaged",
                           node.target,
                           where(node));
        const auto input = std::ranges::find(
            program_.inputs, self->name, &ExportedInput::value);
        FUSIONLLM_VALIDATE(
            input == program_.inputs.end() || buffers_.contains(self->name),
            "{} changes the model's input or parameter '{}' in place{}; write "
            "the model so that it makes a new tensor",
            node.target,
            self->name,
            where(node));
        return self->name;
    }

    //! Counters of batch norms are set down; nothing else may change.
    void import_buffer_update(const ExportedNode& node,
                              const std::string& target,
                              const std::string& buffer) {
        const TensorType& type = type_of(buffer);
        FUSIONLLM_VALIDATE(
            target == "aten::add_" && !is_floating_point(type.dtype) &&
                node.outputs.size() == 1 && count(node, buffer),
            "{} changes the buffer '{}' in place{}; only batch norms may "
            "change buffers, so write the model without this one",
            node.target,
            buffer,
            where(node));
        counted_[node.outputs.front()] = buffer;
    }

    //! Set down that the node adds to the buffer; false if it does not.
    bool count(const ExportedNode& node, const std::string& buffer) {
        const auto input =
            std::ranges::find(program_.inputs, buffer, &ExportedInput::value);
        const auto increment = find_increment(node, input->name);
        if (increment) {
            counters_[input->name] += *increment;
        }
        return increment.has_value();
    }

    //! The sum that is given back as a counter's new value.
    bool is_functional_count(const ExportedNode& node,
                             const std::string& target) {
        const auto* self =
            target != "aten::add" || node.inputs.empty() ||
                    node.outputs.size() != 1
                ? nullptr
                : std::get_if<TensorName>(&node.inputs.front().value);
        if (self == nullptr || !buffers_.contains(self->name) ||
            is_floating_point(type_of(self->name).dtype)) {
            return false;
        }
        if (!is_new_buffer(program_, node.outputs.front()) ||
            !count(node, self->name)) {
            return false;
        }
        counted_[node.outputs.front()] = self->name;
        return true;
    }

    void set_outputs() {
        using Kind = ExportedOutput::Kind;
        const auto find = [&](const ExportedOutput& output) {
            const auto found = values_.find(output.value);
            FUSIONLLM_VALIDATE(found != values_.end(),
                               "the exported model gives the tensor '{}' back, "
                               "which its graph does not make{}",
                               output.value,
                               counted_.contains(output.value)
                                   ? ": a changed counter"
                                   : "; the archive is damaged");
            return found->second;
        };
        std::optional<ValueId> loss;
        for (const ExportedOutput& output : program_.outputs) {
            const bool is_loss = output.kind == Kind::loss ||
                                 (output.kind == Kind::user && !loss &&
                                  type_of(output.value) == TensorType{});
            if (is_loss) {
                loss = find(output);
            }
        }
        if (loss) {
            graph_.set_loss(*loss);
        } else {
            notes_.emplace_back(
                "no output of the model is one f32 number, so the graph has no "
                "loss");
        }
        for (const ExportedOutput& output : program_.outputs) {
            if (output.kind == Kind::user && find(output) != loss) {
                graph_.set_output(find(output));
                break;
            }
        }
    }

    void note_unused_inputs() {
        for (const std::string& name : unused_inputs(program_)) {
            notes_.push_back(fmt::format(
                "the input '{}' is not used; if it was the same tensor as "
                "another one at the export, torch.export took them for one",
                name));
        }
    }

    const ExportedProgram& program_;
    const Locations& weights_;
    GraphBuilder graph_;
    OpWriter writer_;
    AliasTracker aliases_;
    std::map<std::string, ValueId> values_;  // by exported name
    std::vector<std::pair<ExportedInput, WeightLocation>> parameters_;
    std::map<ValueId, std::string> complex_parameters_;  // their names
    std::set<std::string> buffers_;                      // exported names
    //! What changed counters are called, with the counter.
    std::map<std::string, std::string> counted_;
    std::map<std::string, std::int64_t> counters_;  // by the model's name
    std::map<std::string, std::string> shared_names_;
    std::vector<std::string> notes_;
};

}  // namespace

std::string where(const ExportedNode& node) {
    return node.source.empty() ? "" : " (" + node.source + ")";
}

std::pair<std::string, std::string> split_target(const ExportedNode& node) {
    const std::vector<std::string> parts = split(node.target, '.');
    const bool is_aten = parts.size() == 5 && parts[0] == "torch" &&
                         parts[1] == "ops" && parts[2] == "aten" &&
                         !parts[3].empty();
    FUSIONLLM_VALIDATE(
        !node.target.ends_with(".wrap_with_set_grad_enabled"),
        "the model has torch.no_grad() or enable_grad() in its forward{}; "
        "write x.detach() for what shall have no gradient",
        where(node));
    FUSIONLLM_VALIDATE(
        is_aten,
        "the model calls '{}'{}, which is no ATen operator (a custom operator, "
        "control flow or arithmetic with sizes); write this part with "
        "PyTorch's tensor functions and fixed sizes",
        node.target,
        where(node));
    return {"aten::" + parts[3], parts[4] == "default" ? "" : parts[4]};
}

ImportedGraph import_graph(const std::string& name,
                           const ExportedProgram& program,
                           const Locations& weights) {
    return GraphImporter(name, program, weights).import();
}

}  // namespace fusionllm::detail
