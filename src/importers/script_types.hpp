#pragma once

#include <optional>

#include <ATen/core/jit_type.h>

#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm::detail {

//! None for types that we do not have.
std::optional<DType> dtype_of(at::ScalarType type);

inline bool is_optional(const c10::TypePtr& type) {
    return type->kind() == c10::TypeKind::OptionalType;
}

inline c10::TypePtr without_optional(const c10::TypePtr& type) {
    return is_optional(type)
               ? type->castRaw<c10::OptionalType>()->getElementType()
               : type;
}

}  // namespace fusionllm::detail
