#pragma once

#include <string>

#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm {

//! A tensor that a file has, or will have.
struct TensorEntry {
    std::string name;
    TensorType type;

    friend bool operator==(const TensorEntry&, const TensorEntry&) = default;
};

}  // namespace fusionllm
