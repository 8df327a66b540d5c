#include "fusionllm/exec/op_runner.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <type_traits>

#include <ATen/ATen.h>

#include "fusionllm/exec/operator_call.hpp"
#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/graph/buffer_updates.hpp"
#include "fusionllm/graph/call.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

namespace fusionllm {
namespace {

constexpr const char* dropout_mask_target = "fusionllm::dropout_mask";

template <class... Ts>
struct Overloaded : Ts... {
    using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

//! A constant argument as LibTorch takes it; values become empty for now.
c10::IValue to_ivalue(const Argument& argument) {
    return std::visit(
        Overloaded{
            [](NoArgument) { return c10::IValue(); },
            [](ValueId) { return c10::IValue(); },
            [](const std::vector<ValueOrNone>&) { return c10::IValue(); },
            [](DType dtype) {
                return c10::IValue(
                    static_cast<std::int64_t>(to_scalar_type(dtype)));
            },
            [](const std::vector<bool>& flags) {
                c10::List<bool> list;
                for (const bool flag : flags) {
                    list.push_back(flag);
                }
                return c10::IValue(list);
            },
            [](const auto& constant) { return c10::IValue(constant); }},
        argument);
}

c10::TypeKind kind_of(const c10::Argument& argument) {
    const c10::TypePtr type = argument.type();
    return type->kind() == c10::TypeKind::OptionalType
               ? type->castRaw<c10::OptionalType>()->getElementType()->kind()
               : type->kind();
}

//! Fit a constant to its schema type: a float parameter given an int; a whole
//! number where newer schemas take any (the correction of a variance).
c10::IValue coerce(const c10::IValue& value, const c10::Argument& expected) {
    if (kind_of(expected) == c10::TypeKind::FloatType && value.isInt()) {
        return static_cast<double>(value.toInt());
    }
    if (kind_of(expected) == c10::TypeKind::IntType && value.isDouble()) {
        const double number = value.toDouble();
        FUSIONLLM_VALIDATE(
            std::trunc(number) == number && std::abs(number) < 0x1p53,
            "'{}' is {}, but this LibTorch takes whole numbers there",
            expected.name(),
            number);
        return static_cast<std::int64_t>(number);
    }
    return value;
}

std::vector<at::Tensor> unpack(std::vector<c10::IValue>& stack) {
    std::vector<at::Tensor> outputs;
    for (c10::IValue& value : stack) {
        if (value.isTensorList()) {
            for (at::Tensor tensor : value.toTensorVector()) {
                outputs.push_back(std::move(tensor));
            }
        } else if (value.isTensor()) {
            outputs.push_back(std::move(value).toTensor());
        }
    }
    return outputs;
}

//! What a random op's numbers depend on, besides the element.
std::uint64_t random_key(const Op& op, const OpContext& context) {
    return derive_key(
        derive_key(derive_key(context.seed, context.step),
                   static_cast<std::uint64_t>(context.micro_batch)),
        std::string_view(op.name));
}

c10::IValue list_of_values(
    const std::vector<ValueOrNone>& values,
    const c10::TypePtr& type,
    const std::function<const at::Tensor&(ValueId)>& tensor_of) {
    const auto element = type->castRaw<c10::ListType>()->getElementType();
    if (element->kind() == c10::TypeKind::OptionalType) {
        c10::List<c10::optional<at::Tensor>> list;
        for (const ValueOrNone& value : values) {
            const auto* id = std::get_if<ValueId>(&value);
            list.push_back(id ? c10::optional<at::Tensor>(tensor_of(*id))
                              : c10::nullopt);
        }
        return list;
    }
    c10::List<at::Tensor> list;
    for (const ValueOrNone& value : values) {
        list.push_back(tensor_of(std::get<ValueId>(value)));
    }
    return list;
}

//! Of the inputs of the model, those that an op reads itself.
std::vector<std::string> names_of_inputs(const OpGraph& graph, const Op& op) {
    std::vector<std::string> names;
    for (const ValueId input : graph.signature().inputs) {
        if (std::ranges::find(op.arguments, Argument(input)) !=
            op.arguments.end()) {
            names.push_back(fmt::format("'{}'", graph.value(input).name));
        }
    }
    return names;
}

}  // namespace

OpRunner::OpRunner(const OpGraph& graph, OpId id, at::Device device)
    : op_(graph.op(id)), inputs_(names_of_inputs(graph, op_)) {
    if (op_.target == dropout_mask_target) {
        return;
    }
    const std::string problem = find_call_problem(call_of(op_));
    FUSIONLLM_VALIDATE(problem.empty(),
                       "op '{}' calls {}, but this LibTorch {}",
                       op_.name,
                       full_name(op_),
                       problem);
    handle_ = std::make_unique<c10::OperatorHandle>(
        *c10::Dispatcher::singleton().findSchema({op_.target, op_.overload}));
    is_random_ = handle_->hasTag(at::Tag::nondeterministic_seeded);
    for (std::size_t i = 0; i < op_.arguments.size(); ++i) {
        if (std::holds_alternative<ValueId>(op_.arguments[i]) ||
            std::holds_alternative<std::vector<ValueOrNone>>(
                op_.arguments[i])) {
            value_arguments_.push_back(i);
        }
    }
    try {
        arguments_ = convert(op_, device);
        evaluation_arguments_ = convert(evaluation_form(op_), device);
    } catch (const InputError& error) {
        throw InputError(fmt::format("op '{}' calls {}, of which {}",
                                     op_.name,
                                     full_name(op_),
                                     error.what()));
    }
}

std::vector<c10::IValue> OpRunner::convert(const Op& op, at::Device device) {
    const auto& expected = handle_->schema().arguments();
    std::vector<c10::IValue> arguments;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        arguments.push_back(
            i < op.arguments.size()
                ? coerce(to_ivalue(op.arguments[i]), expected[i])
                : *expected[i].default_value());
        // Factories (ones, arange, ...) make their tensor on our device.
        if (expected[i].name() == "device" && arguments.back().isNone()) {
            arguments.back() = device;
        }
    }
    return arguments;
}

std::vector<at::Tensor> OpRunner::run_dropout_mask(
    const at::Tensor& like, const OpContext& context) const {
    const auto options = like.options().dtype(at::kFloat).requires_grad(false);
    if (!context.is_training) {
        // In full size: the mask may have to cross a cut.
        return {at::ones(like.sizes(), options.dtype(like.scalar_type()))};
    }
    const at::Tensor mask = at::empty(like.sizes(), options);
    (*context.fill_mask)(
        mask, random_key(op_, context), std::get<double>(op_.arguments.at(1)));
    return {like.scalar_type() == at::kFloat ? mask
                                             : mask.to(like.scalar_type())};
}

void OpRunner::call(std::vector<c10::IValue>& stack,
                    const OpContext& context) const {
    const auto describe = [&](const c10::Error& error) {
        const std::string reason = error.what_without_backtrace();
        return fmt::format(
            "op '{}' ({}) failed in micro-batch {} of {}: {}",
            op_.name,
            full_name(op_),
            context.micro_batch,
            context.is_training
                ? fmt::format("step {}", context.step + 1)
                : fmt::format("the evaluation after step {}", context.step),
            reason.substr(0, reason.find_last_not_of(". \n") + 1));
    };
    try {
        handle_->callBoxed(&stack);
    } catch (const c10::IndexError& error) {
        throw InputError(fmt::format(
            "{}; see that {} labels that are below the number of classes and "
            "tokens below the vocabulary of the model",
            describe(error),
            inputs_.empty()
                ? "the data have"
                : fmt::format("its input {} has", fmt::join(inputs_, ", "))));
    } catch (const c10::Error& error) {
        throw Error(describe(error));
    }
}

std::vector<at::Tensor> OpRunner::run(
    const std::function<const at::Tensor&(ValueId)>& tensor_of,
    const OpContext& context) const {
    if (!handle_) {
        return run_dropout_mask(
            tensor_of(std::get<ValueId>(op_.arguments.at(0))), context);
    }
    std::vector<c10::IValue> stack =
        context.is_training ? arguments_ : evaluation_arguments_;
    for (const std::size_t i : value_arguments_) {
        if (const auto* id = std::get_if<ValueId>(&op_.arguments[i])) {
            stack[i] = tensor_of(*id);
        } else {
            stack[i] = list_of_values(
                std::get<std::vector<ValueOrNone>>(op_.arguments[i]),
                handle_->schema().arguments()[i].type(),
                tensor_of);
        }
    }
    if (is_random_) {
        // The generator is the process's: ranks of a loopback run share it.
        static std::mutex mutex;
        const std::lock_guard lock(mutex);
        at::Generator generator =
            at::globalContext().defaultGenerator(context.device);
        generator.set_current_seed(random_key(op_, context));
        call(stack, context);
    } else {
        call(stack, context);
    }
    std::vector<at::Tensor> outputs = unpack(stack);
    if (outputs.size() != op_.outputs.size()) {
        throw Error(fmt::format("op '{}' ({}) gave {} tensors, not {}",
                                op_.name,
                                full_name(op_),
                                outputs.size(),
                                op_.outputs.size()));
    }
    for (at::Tensor& output : outputs) {
        output = normalise(output);
    }
    return outputs;
}

}  // namespace fusionllm
