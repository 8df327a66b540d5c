#pragma once

#include <cstdint>

namespace fusionllm {

//! The most host memory that this process had in use until now, pages of mapped
//! files included; 0 where the system does not say.
std::uint64_t peak_resident_bytes();

}  // namespace fusionllm
