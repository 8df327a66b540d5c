#pragma once

#include <functional>
#include <optional>
#include <string>

#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm {

//! A tensor by the name it has in a checkpoint.
struct NamedTensor {
    std::string name;
    HostTensor tensor;
};

//! A tensor of a checkpoint; nothing if it has none of that name.
using LoadTensor =
    std::function<std::optional<HostTensor>(const std::string& name)>;

//! Checkpoint names: "parameters/NAME", "buffers/NAME" and
//! "optimizer/NAME/STATE".
std::string parameter_tensor_name(const std::string& parameter);
std::string buffer_tensor_name(const std::string& buffer);
std::string state_tensor_name(const std::string& parameter,
                              const std::string& state);

}  // namespace fusionllm
