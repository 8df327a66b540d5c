#include "script_operators.hpp"

#include <map>
#include <tuple>

#include <ATen/core/dispatch/Dispatcher.h>

#include "script_types.hpp"

namespace fusionllm::detail {
namespace {

using Names = std::vector<std::optional<std::string>>;

constexpr int no_match = -1;

//! Where tensors lie in memory, which is the same everywhere here.
bool is_of_place(const c10::Argument& argument) {
    const std::string& name = argument.name();
    return name == "device" || name == "layout" || name == "pin_memory" ||
           name == "memory_format" || name == "generator";
}

int cost_of_tensor(const ScriptValue& value) {
    if (std::holds_alternative<TensorName>(value)) {
        return 0;
    }
    const bool is_number = std::holds_alternative<double>(value) ||
                           std::holds_alternative<std::int64_t>(value) ||
                           std::holds_alternative<bool>(value);
    return is_number ? 4 : no_match;
}

int cost_of_scalar(c10::TypeKind kind, const ScriptValue& value) {
    const bool is_bool = std::holds_alternative<bool>(value);
    const bool is_int = std::holds_alternative<std::int64_t>(value);
    const bool is_double = std::holds_alternative<double>(value);
    switch (kind) {
        case c10::TypeKind::BoolType:
            return is_bool ? 0 : no_match;
        case c10::TypeKind::IntType:
            return is_int ? 0 : no_match;
        case c10::TypeKind::FloatType:
            return is_double ? 0 : is_int ? 1 : no_match;
        case c10::TypeKind::NumberType:
            return is_int || is_double ? 0 : is_bool ? 1 : no_match;
        case c10::TypeKind::StringType:
            return std::holds_alternative<std::string>(value) ? 0 : no_match;
        default:
            return no_match;
    }
}

//! 0: as it is wanted; more: it can be made so.
int cost_of(const c10::Argument& argument, const ScriptValue& value);

int cost_of_list(const c10::Argument& argument,
                 const c10::TypePtr& type,
                 const ScriptValue& value) {
    const auto element = type->castRaw<c10::ListType>()->getElementType();
    const auto* list = std::get_if<ScriptList>(&value);
    if (list == nullptr) {
        // int[2] may be given as one number for all.
        const int cost =
            argument.N() ? cost_of_scalar(element->kind(), value) : no_match;
        return cost == no_match ? no_match : cost + 1;
    }
    const bool is_of_tensors =
        without_optional(element)->kind() == c10::TypeKind::TensorType;
    int sum = 0;
    for (const ScriptValue& item : list->items) {
        const bool is_hole =
            std::holds_alternative<NoArgument>(item) && is_optional(element);
        const int cost = is_hole ? 0
                         : is_of_tensors
                             ? (cost_of_tensor(item) == 0 ? 0 : no_match)
                             : cost_of_scalar(element->kind(), item);
        if (cost == no_match) {
            return no_match;
        }
        sum = std::max(sum, cost);
    }
    return sum;
}

int cost_of(const c10::Argument& argument, const ScriptValue& value) {
    const c10::TypePtr type = without_optional(argument.type());
    if (std::holds_alternative<NoArgument>(value)) {
        return is_optional(argument.type()) || is_of_place(argument) ? 0
                                                                     : no_match;
    }
    if (std::holds_alternative<ScriptIgnored>(value)) {
        return is_of_place(argument) ? 0 : no_match;
    }
    if (type->kind() == c10::TypeKind::TensorType) {
        return cost_of_tensor(value);
    }
    if (type->kind() == c10::TypeKind::ListType) {
        return cost_of_list(argument, type, value);
    }
    return cost_of_scalar(type->kind(), value);
}

//! Each argument of the schema that is given, or none if it does not fit.
struct Match {
    int cost = 0;
    std::vector<const ScriptValue*> given;  // by the schema; null: not given
};

std::optional<Match> match(const c10::FunctionSchema& schema,
                           const ScriptArguments& arguments) {
    const auto& wanted = schema.arguments();
    Match found{0, std::vector<const ScriptValue*>(wanted.size())};
    if (arguments.positional.size() > wanted.size()) {
        return std::nullopt;
    }
    for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
        if (wanted[i].kwarg_only()) {
            return std::nullopt;
        }
        found.given[i] = &arguments.positional[i];
    }
    for (const auto& [name, value] : arguments.keywords) {
        const auto place = schema.argumentIndexWithName(name);
        if (!place || found.given[static_cast<std::size_t>(*place)]) {
            return std::nullopt;
        }
        found.given[static_cast<std::size_t>(*place)] = &value;
    }
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        if (found.given[i] == nullptr) {
            if (!wanted[i].default_value()) {
                return std::nullopt;
            }
            continue;
        }
        const int cost = cost_of(wanted[i], *found.given[i]);
        if (cost == no_match) {
            return std::nullopt;
        }
        found.cost += cost;
    }
    return found;
}

template <class Number>
std::vector<Number> numbers_of(const ScriptList& list) {
    std::vector<Number> numbers;
    for (const ScriptValue& item : list.items) {
        if (const auto* exact = std::get_if<Number>(&item)) {
            numbers.push_back(*exact);
        } else if (const auto* whole = std::get_if<std::int64_t>(&item)) {
            numbers.push_back(static_cast<Number>(*whole));
        }
    }
    return numbers;
}

ExportedArgument to_list(const c10::Argument& argument,
                         const ScriptValue& value) {
    const auto element = without_optional(argument.type())
                             ->castRaw<c10::ListType>()
                             ->getElementType();
    ScriptList list;
    if (const auto* given = std::get_if<ScriptList>(&value)) {
        list = *given;
    } else {
        list.items.assign(static_cast<std::size_t>(argument.N().value_or(1)),
                          value);
    }
    switch (without_optional(element)->kind()) {
        case c10::TypeKind::TensorType: {
            Names names;
            for (const ScriptValue& item : list.items) {
                const auto* name = std::get_if<TensorName>(&item);
                names.push_back(name == nullptr ? std::nullopt
                                                : std::optional(name->name));
            }
            return names;
        }
        case c10::TypeKind::BoolType:
            return numbers_of<bool>(list);
        case c10::TypeKind::FloatType:
        case c10::TypeKind::NumberType:
            return numbers_of<double>(list);
        default:
            return numbers_of<std::int64_t>(list);
    }
}

ExportedArgument to_exported(const c10::Argument& argument,
                             const ScriptValue& value) {
    if (is_of_place(argument) || std::holds_alternative<NoArgument>(value)) {
        return NoArgument{};
    }
    const auto kind = without_optional(argument.type())->kind();
    if (kind == c10::TypeKind::ListType) {
        return to_list(argument, value);
    }
    if (const auto* name = std::get_if<TensorName>(&value)) {
        return *name;
    }
    if (const auto* truth = std::get_if<bool>(&value)) {
        return *truth;
    }
    if (const auto* number = std::get_if<std::int64_t>(&value)) {
        if (argument.name() == "dtype") {
            const auto dtype = dtype_of(static_cast<at::ScalarType>(*number));
            return dtype ? ExportedArgument(*dtype)
                         : ExportedArgument(Unsupported{"this element type"});
        }
        return kind == c10::TypeKind::FloatType
                   ? ExportedArgument(static_cast<double>(*number))
                   : ExportedArgument(*number);
    }
    if (const auto* number = std::get_if<double>(&value)) {
        return *number;
    }
    if (const auto* text = std::get_if<std::string>(&value)) {
        return *text;
    }
    return Unsupported{"a module"};
}

const std::map<std::string, std::vector<std::string>>& all_overloads() {
    static const auto all = [] {
        std::map<std::string, std::vector<std::string>> overloads;
        for (const auto& name : c10::Dispatcher::singleton().getAllOpNames()) {
            overloads[name.name].push_back(name.overload_name);
        }
        return overloads;
    }();
    return all;
}

}  // namespace

std::optional<ScriptOperator> find_script_operator(
    const std::string& target, const ScriptArguments& arguments) {
    const auto overloads = all_overloads().find(target);
    if (overloads == all_overloads().end()) {
        return std::nullopt;
    }
    // By cost, then by name: the dispatcher has no order.
    std::optional<std::tuple<int, std::string, Match, c10::OperatorHandle>>
        best;
    for (const std::string& overload : overloads->second) {
        const auto handle =
            c10::Dispatcher::singleton().findSchema({target, overload});
        if (!handle) {
            continue;
        }
        auto found = match(handle->schema(), arguments);
        if (found &&
            (!best || std::tuple(found->cost, overload) <
                          std::tuple(std::get<0>(*best), std::get<1>(*best)))) {
            best.emplace(found->cost, overload, std::move(*found), *handle);
        }
    }
    if (!best) {
        return std::nullopt;
    }
    ScriptOperator chosen{std::get<1>(*best), {}, {}};
    const auto& wanted = std::get<3>(*best).schema().arguments();
    const auto& given = std::get<2>(*best).given;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        if (given[i] != nullptr) {
            chosen.arguments.push_back({wanted[i].name(),
                                        to_exported(wanted[i], *given[i]),
                                        wanted[i].kwarg_only()});
        }
        if (wanted[i].is_out()) {
            chosen.outs.push_back(wanted[i].name());
        }
    }
    return chosen;
}

bool is_script_operator(const std::string& target) {
    return all_overloads().contains(target);
}

}  // namespace fusionllm::detail
