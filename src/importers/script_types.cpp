#include "script_types.hpp"

#include <algorithm>

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include "fusionllm/util/error.hpp"

#include "script_operators.hpp"

namespace fusionllm::detail {
namespace {

using Names = std::vector<std::optional<std::string>>;

at::ScalarType scalar_type_of(DType dtype) {
    for (int code = 0; code <= static_cast<int>(at::kBFloat16); ++code) {
        const auto type = static_cast<at::ScalarType>(code);
        if (dtype_of(type) == dtype) {
            return type;
        }
    }
    return at::kFloat;
}

//! What tensors hold; identity: square matrices, and ones where there are none.
enum class Values { none, zeros, ones, identity };

at::Tensor make_values(Values values,
                       const std::vector<std::int64_t>& sizes,
                       const at::TensorOptions& options) {
    const std::size_t rank = sizes.size();
    if (values == Values::identity && rank >= 2 &&
        sizes[rank - 1] == sizes[rank - 2]) {
        return at::eye(sizes.back(), options).expand(sizes).clone();
    }
    return values == Values::none || values == Values::zeros
               ? at::zeros(sizes, options)
               : at::ones(sizes, options);
}

//! The arguments as LibTorch takes them; tensors without values are on no
//! device.
class Stack {
public:
    Stack(const TypeOf& type_of, Values values)
        : type_of_(type_of),
          values_(values),
          device_(values == Values::none ? at::kMeta : at::kCPU) {}

    std::vector<c10::IValue> make(const c10::FunctionSchema& schema,
                                  const std::vector<NamedArgument>& given) {
        std::vector<c10::IValue> stack;
        for (const c10::Argument& wanted : schema.arguments()) {
            const auto found = std::find_if(
                given.begin(), given.end(), [&](const NamedArgument& one) {
                    return one.name == wanted.name();
                });
            stack.push_back(found == given.end()
                                ? wanted.default_value().value_or(c10::IValue())
                                : to_value(wanted, found->value));
            if (wanted.name() == "device" && stack.back().isNone()) {
                stack.back() = device_;
            }
        }
        return stack;
    }

private:
    //! Small ones have memory of their own, for ops that change them.
    at::Tensor make_tensor(const TensorType& type) const {
        constexpr std::int64_t most_elements = 1 << 20;
        const auto options = at::TensorOptions()
                                 .dtype(scalar_type_of(type.dtype))
                                 .device(device_);
        return num_elements(type) <= most_elements || device_.is_meta()
                   ? make_values(values_, type.sizes, options)
                   : make_values(values_, {}, options).expand(type.sizes);
    }

    c10::IValue to_tensors(const Names& names, bool has_holes) const {
        if (has_holes) {
            c10::List<c10::optional<at::Tensor>> list;
            for (const auto& name : names) {
                list.push_back(
                    name ? c10::make_optional(make_tensor(type_of_(*name)))
                         : c10::nullopt);
            }
            return list;
        }
        c10::List<at::Tensor> list;
        for (const auto& name : names) {
            list.push_back(make_tensor(type_of_(name.value())));
        }
        return list;
    }

    c10::IValue to_value(const c10::Argument& wanted,
                         const ExportedArgument& given) const {
        const c10::TypePtr type = without_optional(wanted.type());
        if (type->kind() == c10::TypeKind::TensorType) {
            if (const auto* name = std::get_if<TensorName>(&given)) {
                return make_tensor(type_of_(name->name));
            }
            if (std::holds_alternative<double>(given)) {
                return make_tensor({DType::f32, {}});
            }
            return std::holds_alternative<NoArgument>(given)
                       ? c10::IValue()
                       : c10::IValue(make_tensor({DType::i64, {}}));
        }
        if (const auto* names = std::get_if<Names>(&given)) {
            return to_tensors(
                *names,
                is_optional(type->castRaw<c10::ListType>()->getElementType()));
        }
        return std::visit(
            [&](const auto& value) -> c10::IValue {
                using Value = std::decay_t<decltype(value)>;
                if constexpr (std::is_same_v<Value, DType>) {
                    return static_cast<std::int64_t>(scalar_type_of(value));
                } else if constexpr (std::is_same_v<Value, std::vector<bool>>) {
                    c10::List<bool> list;
                    for (const bool one : value) {
                        list.push_back(one);
                    }
                    return list;
                } else if constexpr (std::is_constructible_v<c10::IValue,
                                                             Value> &&
                                     !std::is_same_v<Value, Names>) {
                    return value;
                } else {
                    return {};
                }
            },
            given);
    }

    const TypeOf& type_of_;
    Values values_;
    at::Device device_;
};

void add_type(const at::Tensor& tensor, OperatorTypes& types) {
    const auto dtype = dtype_of(tensor.scalar_type());
    if (!dtype) {
        types.problem = "it makes elements of a type that is not known here";
        return;
    }
    types.outputs.push_back({*dtype, tensor.sizes().vec()});
}

OperatorTypes call(const c10::OperatorHandle& handle,
                   std::vector<c10::IValue> stack) {
    OperatorTypes types;
    handle.callBoxed(&stack);
    for (const c10::IValue& value : stack) {
        if (value.isTensor()) {
            add_type(value.toTensor(), types);
        } else if (value.isTensorList()) {
            for (const at::Tensor& tensor : value.toTensorVector()) {
                add_type(tensor, types);
            }
        } else {
            types.problem = "it makes something else than tensors";
        }
    }
    return types;
}

std::string first_line(std::string text) {
    return text.substr(0, text.find('\n'));
}

}  // namespace

std::optional<DType> dtype_of(at::ScalarType type) {
    switch (type) {
        case at::kFloat:
            return DType::f32;
        case at::kDouble:
            return DType::f64;
        case at::kHalf:
            return DType::f16;
        case at::kBFloat16:
            return DType::bf16;
        case at::kLong:
            return DType::i64;
        case at::kInt:
            return DType::i32;
        case at::kShort:
            return DType::i16;
        case at::kChar:
            return DType::i8;
        case at::kByte:
            return DType::u8;
        case at::kBool:
            return DType::boolean;
        case at::kComplexFloat:
            return DType::c64;
        case at::kComplexDouble:
            return DType::c128;
        default:
            return std::nullopt;
    }
}

OperatorTypes infer_types(const std::string& target,
                          const ScriptOperator& operation,
                          const TypeOf& type_of) {
    const auto handle = c10::Dispatcher::singleton().findSchemaOrThrow(
        target.c_str(), operation.overload.c_str());
    const c10::InferenceMode no_gradients;
    std::string problem;  // with zeros, if there is one
    for (const Values values :
         {Values::none, Values::zeros, Values::ones, Values::identity}) {
        OperatorTypes types;
        try {
            Stack stack(type_of, values);
            types =
                call(handle, stack.make(handle.schema(), operation.arguments));
        } catch (const InputError&) {
            throw;
        } catch (const std::exception& error) {
            types.problem = first_line(error.what());
        }
        if (types.problem.empty()) {
            return types;
        }
        problem = values == Values::none || values == Values::zeros
                      ? types.problem
                      : problem;
    }
    return {{}, problem};
}

}  // namespace fusionllm::detail
