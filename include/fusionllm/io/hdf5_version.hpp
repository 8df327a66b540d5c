#pragma once

#include <string>

namespace fusionllm {

//! "1.10.8"
std::string hdf5_version();

}  // namespace fusionllm
