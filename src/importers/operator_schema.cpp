#include "operator_schema.hpp"

#include <ATen/core/dispatch/Dispatcher.h>

namespace fusionllm::detail {
namespace {

using Kind = OperatorArgument::Kind;

c10::TypeKind unwrapped_kind(const c10::TypePtr& type) {
    return type->kind() == c10::TypeKind::OptionalType
               ? type->castRaw<c10::OptionalType>()->getElementType()->kind()
               : type->kind();
}

Kind kind_of(const c10::Argument& argument) {
    const c10::TypePtr type = argument.type();
    if (unwrapped_kind(type) == c10::TypeKind::TensorType) {
        return Kind::tensor;
    }
    if (unwrapped_kind(type) == c10::TypeKind::IntType) {
        return Kind::integer;
    }
    if (type->kind() == c10::TypeKind::ListType) {
        const auto element = type->castRaw<c10::ListType>()->getElementType();
        return element->kind() == c10::TypeKind::IntType ? Kind::integers
                                                         : Kind::other;
    }
    return Kind::other;
}

std::optional<Argument> to_argument(const c10::IValue& value) {
    if (value.isNone()) {
        return NoArgument{};
    }
    if (value.isBool()) {
        return value.toBool();
    }
    if (value.isInt()) {
        return value.toInt();
    }
    if (value.isDouble()) {
        return value.toDouble();
    }
    if (value.isString()) {
        return value.toStringRef();
    }
    if (value.isIntList()) {
        return value.toIntVector();
    }
    return std::nullopt;
}

std::optional<Argument> default_of(const c10::Argument& argument) {
    if (argument.default_value()) {
        return to_argument(*argument.default_value());
    }
    return argument.type()->kind() == c10::TypeKind::OptionalType
               ? std::optional<Argument>(NoArgument{})
               : std::nullopt;
}

}  // namespace

std::optional<std::vector<OperatorArgument>> find_operator(
    const std::string& target, const std::string& overload) {
    const auto handle =
        c10::Dispatcher::singleton().findSchema({target, overload});
    if (!handle) {
        return std::nullopt;
    }
    std::vector<OperatorArgument> arguments;
    for (const c10::Argument& argument : handle->schema().arguments()) {
        arguments.push_back(
            {argument.name(), kind_of(argument), default_of(argument)});
    }
    return arguments;
}

}  // namespace fusionllm::detail
