#pragma once

namespace fusionllm {

//! Where a kernel's memory is.
enum class MemorySpace { host, cuda };

}  // namespace fusionllm
