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

}  // namespace fusionllm
