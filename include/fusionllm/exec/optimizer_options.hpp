#pragma once

#include <string>

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

}  // namespace fusionllm
