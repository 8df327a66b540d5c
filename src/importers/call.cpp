#include "call.hpp"

#include <algorithm>
#include <cmath>

#include "fusionllm/graph/decompose.hpp"
#include "fusionllm/util/error.hpp"

#include "operator_schema.hpp"

namespace fusionllm::detail {
namespace {

using Kind = OperatorArgument::Kind;

bool is_scalar(const Argument& argument) {
    return std::holds_alternative<bool>(argument) ||
           std::holds_alternative<std::int64_t>(argument) ||
           std::holds_alternative<double>(argument);
}

//! Whether the operator's only trouble is a number where it wants a tensor.
bool has_scalar_for_tensor(const Call& call,
                           const std::vector<OperatorArgument>& schema) {
    return std::ranges::any_of(call.arguments, [&](const auto& given) {
        const auto wanted =
            std::ranges::find(schema, given.first, &OperatorArgument::name);
        return wanted != schema.end() && wanted->kind == Kind::tensor &&
               is_scalar(given.second);
    });
}

void make_tensors_of_scalars(Call& call,
                             const std::vector<OperatorArgument>& schema,
                             OpWriter& writer) {
    for (auto& [name, argument] : call.arguments) {
        const auto wanted =
            std::ranges::find(schema, name, &OperatorArgument::name);
        if (wanted == schema.end() || wanted->kind != Kind::tensor ||
            !is_scalar(argument)) {
            continue;
        }
        const DType dtype =
            std::holds_alternative<double>(argument) ? DType::f32
            : std::holds_alternative<bool>(argument) ? DType::boolean
                                                     : DType::i64;
        std::vector<Argument> arguments;
        arguments.push_back(argument);
        arguments.emplace_back(dtype);
        argument = writer.write(call.name + "." + name,
                                "aten::scalar_tensor",
                                std::move(arguments),
                                {dtype, {}});
    }
}

Argument fit(const Argument& given, const OperatorArgument& wanted) {
    const auto* number = std::get_if<std::int64_t>(&given);
    if (wanted.kind == Kind::integers && number != nullptr) {
        return std::vector<std::int64_t>(1, *number);
    }
    const auto* real = std::get_if<double>(&given);
    constexpr double max_exact = 0x1p53;
    if (wanted.kind == Kind::integer && real != nullptr &&
        std::abs(*real) < max_exact && std::trunc(*real) == *real) {
        return static_cast<std::int64_t>(*real);
    }
    return given;
}

//! In the order of the schema, gaps filled with defaults.
std::vector<Argument> positional(const Call& call,
                                 const std::vector<OperatorArgument>& schema) {
    std::vector<std::optional<Argument>> found(schema.size());
    std::size_t count = 0;
    for (const auto& [name, argument] : call.arguments) {
        const auto wanted =
            std::ranges::find(schema, name, &OperatorArgument::name);
        if (wanted == schema.end()) {
            FUSIONLLM_VALIDATE(
                std::holds_alternative<NoArgument>(argument),
                "op '{}' gives '{}' to {}, which this LibTorch's operator does "
                "not take{}; use a newer LibTorch or leave it out",
                call.name,
                name,
                full_name(call),
                call.where);
            continue;
        }
        const auto i = static_cast<std::size_t>(wanted - schema.begin());
        found[i] = fit(argument, *wanted);
        count = std::max(count, i + 1);
    }
    std::vector<Argument> arguments;
    for (std::size_t i = 0; i < count; ++i) {
        FUSIONLLM_VALIDATE(found[i] || schema[i].default_value,
                           "op '{}' does not give '{}' to {}{}; the archive is "
                           "damaged",
                           call.name,
                           schema[i].name,
                           full_name(call),
                           call.where);
        arguments.push_back(found[i] ? *found[i] : *schema[i].default_value);
    }
    return arguments;
}

//! Without the schema, which another LibTorch may have: as they stand there.
std::vector<Argument> as_given(const Call& call) {
    std::vector<Argument> arguments;
    for (const auto& [name, argument] : call.arguments) {
        arguments.push_back(argument);
    }
    return arguments;
}

//! Operators that are another one for what we need.
Call with_portable_target(Call call) {
    constexpr std::pair<std::string_view, std::string_view> same[] = {
        {"aten::lift_fresh_copy", "aten::clone"},
        {"aten::_safe_softmax", "aten::softmax"}};
    for (const auto& [from, to] : same) {
        if (call.target == from) {
            call.target = to;
            call.overload = to == "aten::softmax" ? "int" : "";
        }
    }
    // The functional form gives the new statistics back; ours updates them.
    const bool is_functional_norm =
        call.target == "aten::_native_batch_norm_legit_functional" &&
        call.outputs.size() == 5;
    if (is_functional_norm || call.target == "aten::_native_batch_norm_legit") {
        call.target = "aten::native_batch_norm";
        call.overload = "";
        call.outputs.resize(std::min<std::size_t>(call.outputs.size(), 3));
    }
    // LibTorch 1.13 wants these to be given.
    if (call.overload == "correction") {
        for (const char* name : {"dim", "correction"}) {
            if (call.find(name) == nullptr) {
                call.arguments.emplace_back(name, NoArgument{});
            }
        }
    }
    // What a view may do depends on strides, and ours are normalised.
    const bool is_reshape =
        (call.target == "aten::view" && call.overload.empty()) ||
        call.target == "aten::_unsafe_view" ||
        call.target == "aten::unflatten" || call.target == "aten::view_as" ||
        (call.target == "aten::squeeze" && call.overload == "dims");
    if (is_reshape && call.outputs.size() == 1) {
        const ValueId self = call.tensor("self");
        call.arguments.clear();
        call.arguments.emplace_back("self", self);
        call.arguments.emplace_back("shape", call.outputs[0].sizes);
        call.target = "aten::reshape";
        call.overload = "";
    }
    return call;
}

//! torch.export writes down wrong sizes of the last states of a recurrent net
//! with `batch_first`; they are those of the first states.
void correct_states(Call& call, const OpWriter& writer) {
    const Argument* first = call.find("hx");
    if (first == nullptr || call.overload != "input") {
        return;
    }
    std::vector<ValueOrNone> states;
    if (const auto* one = std::get_if<ValueId>(first)) {
        states.emplace_back(*one);
    } else if (const auto* list =
                   std::get_if<std::vector<ValueOrNone>>(first)) {
        states = *list;
    }
    for (std::size_t i = 0; i < states.size(); ++i) {
        const auto* state = std::get_if<ValueId>(&states[i]);
        if (state != nullptr && i + 1 < call.outputs.size()) {
            call.outputs[i + 1] = writer.type(*state);
        }
    }
}

}  // namespace

std::vector<ValueId> write_call(Call call, OpWriter& writer) {
    call = with_portable_target(std::move(call));
    if (auto outputs = write_decomposed(call, writer); !outputs.empty()) {
        return outputs;
    }
    correct_states(call, writer);
    auto schema = find_operator(call.target, call.overload);
    if (schema && has_scalar_for_tensor(call, *schema)) {
        if (auto scalar = find_operator(call.target, "Scalar");
            scalar && !has_scalar_for_tensor(call, *scalar)) {
            call.overload = "Scalar";
            schema = std::move(scalar);
        } else {
            make_tensors_of_scalars(call, *schema, writer);
        }
    }
    return writer.write_all(call.name,
                            full_name(call),
                            schema ? positional(call, *schema) : as_given(call),
                            call.outputs);
}

}  // namespace fusionllm::detail
