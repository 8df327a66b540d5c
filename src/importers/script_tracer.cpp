#include "script_tracer.hpp"

#include <limits>
#include <utility>

#include "fusionllm/util/error.hpp"

#include "script_program.hpp"

namespace fusionllm::detail {
namespace {

using Kind = ScriptExpression::Kind;
using Scope = std::map<std::string, ScriptValue>;

constexpr int most_levels = 300;              // of the stack
constexpr std::size_t most_statements = 1e6;  // in all calls together

//! A call that is being followed.
struct Frame {
    Scope names;
    std::string path;  // of the module
    const std::string* where = nullptr;
    std::string target;  // what the value is assigned to, for its name
};

class Tracer {
public:
    Tracer(const ScriptArchive& archive, const WeightSource& weights)
        : archive_(archive), weights_(weights) {}

    ExportedProgram trace(const std::vector<TensorType>& inputs) {
        program_.add_weights(archive_);
        const std::string class_name =
            archive_.root()->get<PickleObject>()->callable;
        const ScriptClass* type = archive_.find_class(class_name);
        FUSIONLLM_VALIDATE(type != nullptr && type->methods.contains("forward"),
                           "the class '{}' of the archive has no method "
                           "'forward'; save what torch.jit.trace gave",
                           class_name);
        const ScriptFunction& forward = type->methods.at("forward");
        ScriptArguments arguments{{ScriptModule{archive_.root(), ""}}, {}};
        for (ScriptValue& input :
             program_.add_inputs(forward.parameters, inputs)) {
            arguments.positional.push_back(std::move(input));
        }
        program_.set_outputs(
            follow(forward, arguments, "", "forward of " + class_name));
        return program_.take();
    }

private:
    ScriptValue follow(const ScriptFunction& function,
                       const ScriptArguments& arguments,
                       const std::string& path,
                       const std::string& caller) {
        Frame frame{{}, path, &caller, ""};
        bind(function, arguments, frame);
        for (const ScriptStatement& statement : function.body) {
            frame.where = &statement.where;
            if (++num_statements_ > most_statements) {
                refuse(*frame.where, "it has too many statements");
            }
            if (statement.kind == ScriptStatement::Kind::other) {
                refuse(*frame.where,
                       "control flow, or another statement that traces do not "
                       "have, may depend on data");
            }
            frame.target =
                statement.targets.size() == 1 ? statement.targets[0] : "";
            ScriptValue value = evaluate(*statement.value, frame);
            if (statement.kind == ScriptStatement::Kind::give_back) {
                return value;
            }
            assign(statement, std::move(value), frame);
        }
        return NoArgument{};
    }

    static void bind(const ScriptFunction& function,
                     const ScriptArguments& arguments,
                     Frame& frame) {
        const auto& names = function.parameters;
        if (arguments.positional.size() > names.size()) {
            refuse(*frame.where, "a method is given too much");
        }
        for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
            frame.names[names[i]] = arguments.positional[i];
        }
        for (const auto& [name, value] : arguments.keywords) {
            frame.names[name] = value;
        }
    }

    static void assign(const ScriptStatement& statement,
                       ScriptValue value,
                       Frame& frame) {
        if (!statement.is_taken_apart) {
            frame.names[statement.targets.front()] = std::move(value);
            return;
        }
        const auto* list = std::get_if<ScriptList>(&value);
        if (list == nullptr || list->items.size() != statement.targets.size()) {
            refuse(*frame.where,
                   "it is taken apart into another number of values");
        }
        for (std::size_t i = 0; i < list->items.size(); ++i) {
            frame.names[statement.targets[i]] = list->items[i];
        }
    }

    ScriptValue evaluate(const ScriptExpression& expression, Frame& frame) {
        if (++num_levels_ > most_levels) {
            refuse(*frame.where, "calls lie in one another too deeply");
        }
        ScriptValue value = evaluate_kind(expression, frame);
        --num_levels_;
        return value;
    }

    ScriptValue evaluate_kind(const ScriptExpression& expression,
                              Frame& frame) {
        switch (expression.kind) {
            case Kind::constant:
                return std::visit(
                    [](const auto& value) { return ScriptValue(value); },
                    expression.value);
            case Kind::name:
                return evaluate_name(expression.text, frame);
            case Kind::attribute:
                return evaluate_attribute(expression, frame);
            case Kind::list:
            case Kind::tuple: {
                ScriptList list;
                for (const ScriptPart& part : expression.parts) {
                    list.items.push_back(evaluate(*part, frame));
                }
                return list;
            }
            case Kind::subscript:
                return item_of(evaluate(*expression.parts[0], frame),
                               evaluate(*expression.parts[1], frame),
                               *frame.where);
            default:
                return evaluate_call(expression, frame);
        }
    }

    static ScriptValue evaluate_name(const std::string& name, Frame& frame) {
        if (name == "None") {
            return NoArgument{};
        }
        if (name == "True" || name == "False") {
            return name == "True";
        }
        if (name == "inf") {
            return std::numeric_limits<double>::infinity();
        }
        if (name == "nan") {
            return std::numeric_limits<double>::quiet_NaN();
        }
        const auto found = frame.names.find(name);
        if (found == frame.names.end()) {
            refuse(*frame.where, fmt::format("'{}' is not known there", name));
        }
        return found->second;
    }

    ScriptValue evaluate_attribute(const ScriptExpression& expression,
                                   Frame& frame) {
        const ScriptExpression& owner = *expression.parts[0];
        if (owner.kind == Kind::name && owner.text == "CONSTANTS") {
            return constant("CONSTANTS." + expression.text, frame);
        }
        return attribute(evaluate(owner, frame), expression.text, frame);
    }

    //! A tensor of one number is that number; it is read once.
    ScriptValue constant(const std::string& name, Frame& frame) {
        if (!weights_.has(name)) {
            refuse(*frame.where, fmt::format("'{}' is no tensor", name));
        }
        if (!weights_.type(name).sizes.empty()) {
            return TensorName{name};
        }
        const auto known = numbers_.find(name);
        return known != numbers_.end()
                   ? known->second
                   : numbers_[name] = number_of(name, weights_.load(name));
    }

    ScriptValue attribute(const ScriptValue& owner,
                          const std::string& name,
                          Frame& frame) {
        const auto* module = std::get_if<ScriptModule>(&owner);
        if (module == nullptr) {
            refuse(*frame.where,
                   fmt::format("'{}' is asked of no module", name));
        }
        const std::string path =
            module->path.empty() ? name : module->path + "." + name;
        for (const auto& [key, value] :
             find_attributes(module->object)->items) {
            const auto* text = key->get<std::string_view>();
            if (text == nullptr || *text != name) {
                continue;
            }
            if (find_attributes(value) != nullptr) {
                return ScriptModule{value, path};
            }
            return find_tensor(value) ? ScriptValue(TensorName{path})
                                      : plain(value, 0);
        }
        refuse(*frame.where, fmt::format("the module has no '{}'", name));
    }

    //! "torch.nn" for names joined by dots, or nothing.
    static std::string dotted(const ScriptExpression& expression) {
        if (expression.kind == Kind::name) {
            return expression.text;
        }
        if (expression.kind != Kind::attribute) {
            return "";
        }
        const std::string owner = dotted(*expression.parts[0]);
        return owner.empty() ? "" : owner + "." + expression.text;
    }

    ScriptArguments arguments_of(const ScriptExpression& call,
                                 std::size_t first,
                                 Frame& frame) {
        ScriptArguments arguments;
        for (std::size_t i = first; i < call.parts.size(); ++i) {
            arguments.positional.push_back(evaluate(*call.parts[i], frame));
        }
        for (const auto& [name, value] : call.keywords) {
            arguments.keywords.emplace_back(name, evaluate(*value, frame));
        }
        return arguments;
    }

    ScriptValue evaluate_call(const ScriptExpression& call, Frame& frame) {
        // Values inside are named after their operators.
        const std::string target = std::exchange(frame.target, "");
        const ScriptExpression& callee = *call.parts[0];
        const std::string name = dotted(callee);
        if ((name == "annotate" || name == "unchecked_cast") &&
            call.parts.size() == 3) {
            return evaluate(*call.parts[2], frame);
        }
        if (name == "uninitialized") {
            return NoArgument{};
        }
        if (const auto* function = name.starts_with("__torch__.")
                                       ? archive_.find_function(name)
                                       : nullptr) {
            return follow(*function,
                          arguments_of(call, 1, frame),
                          frame.path,
                          *frame.where);
        }
        for (const std::string prefix : {"torch.", "ops.prim.", "ops.aten."}) {
            if (name.starts_with(prefix) && !frame.names.contains("torch")) {
                const bool is_named = !target.empty() && target[0] != '_';
                const std::string op = name.substr(prefix.size());
                const std::string own = is_named ? target : op;
                return program_.call(
                    prefix == "ops.prim." ? ScriptProgram::Space::prim
                                          : ScriptProgram::Space::aten,
                    op,
                    arguments_of(call, 1, frame),
                    {frame.path.empty() ? own : frame.path + "." + own,
                     *frame.where});
            }
        }
        if (callee.kind == Kind::name) {
            return call_builtin(name, arguments_of(call, 1, frame), frame);
        }
        if (callee.kind == Kind::attribute && !name.starts_with("ops.")) {
            return call_method(call, frame);
        }
        refuse(*frame.where, fmt::format("'{}' is no ATen operator", name));
    }

    ScriptValue call_method(const ScriptExpression& call, Frame& frame) {
        const ScriptExpression& callee = *call.parts[0];
        const ScriptValue owner = evaluate(*callee.parts[0], frame);
        const auto* module = std::get_if<ScriptModule>(&owner);
        if (module == nullptr) {
            refuse(*frame.where,
                   fmt::format("'{}' is asked of no module", callee.text));
        }
        const ScriptClass* type =
            archive_.find_class(module->object->get<PickleObject>()->callable);
        if (type == nullptr || !type->methods.contains(callee.text)) {
            refuse(*frame.where,
                   fmt::format("the module has no '{}'", callee.text));
        }
        ScriptArguments arguments = arguments_of(call, 1, frame);
        arguments.positional.insert(arguments.positional.begin(), owner);
        return follow(type->methods.at(callee.text),
                      arguments,
                      module->path,
                      *frame.where);
    }

    ScriptValue call_builtin(const std::string& name,
                             const ScriptArguments& arguments,
                             Frame& frame) {
        const auto& given = arguments.positional;
        if (name == "getattr" && given.size() == 2) {
            const auto* text = std::get_if<std::string>(&given[1]);
            return attribute(given[0], text == nullptr ? "" : *text, frame);
        }
        if (given.size() == 1 &&
            (name == "int" || name == "float" || name == "bool")) {
            return to_number(name, given[0], *frame.where);
        }
        refuse(*frame.where, fmt::format("'{}' is no operator", name));
    }

    const ScriptArchive& archive_;
    const WeightSource& weights_;
    ScriptProgram program_;
    std::map<std::string, ScriptValue> numbers_;  // constants that were read
    int num_levels_ = 0;  // of values in values, over all calls
    std::size_t num_statements_ = 0;
};

}  // namespace

ExportedProgram trace_script(const ScriptArchive& archive,
                             const WeightSource& weights,
                             const std::vector<TensorType>& inputs) {
    return Tracer(archive, weights).trace(inputs);
}

}  // namespace fusionllm::detail
