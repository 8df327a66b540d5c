#pragma once

#include <map>
#include <string>

#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm {

//! Which update rule, and its constants; free of LibTorch.
struct OptimizerOptions {
    std::string kind = "adamw";  //!< "sgd" or "adamw"
    double momentum = 0;         //!< sgd
    double beta1 = 0.9;          //!< adamw
    double beta2 = 0.999;        //!< adamw
    double epsilon = 1e-8;       //!< adamw
    double weight_decay = 0;

    friend bool operator==(const OptimizerOptions&,
                           const OptimizerOptions&) = default;
};

//! Bytes of optimizer state for an f32 element: 0, 4 or 8.
double state_bytes_per_element(const OptimizerOptions& options);

//! The state that the update rule keeps for a parameter of this type.
std::map<std::string, TensorType> state_types(const OptimizerOptions& options,
                                              const TensorType& parameter);

}  // namespace fusionllm
