#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm {

//! The given first value of a parameter or buffer, by the model's own name;
//! nothing if there is none.
using InitialTensor =
    std::function<std::optional<HostTensor>(const std::string& name)>;

//! Where the first values of parameters and buffers come from.
struct FirstValues {
    std::uint64_t seed = 0;  //!< of those that are not given
    InitialTensor given;     //!< empty: all are drawn from the seed
};

}  // namespace fusionllm
