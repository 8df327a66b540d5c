#pragma once

#include <Kokkos_Core.hpp>

#include "fusionllm/codec/memory_space.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm::detail {

//! Call with the execution space whose kernels reach this memory. Throws
//! `Error` if this Kokkos has none.
template <class Visit>
auto with_execution(MemorySpace space, const Visit& visit) {
    if (space == MemorySpace::host) {
        return visit(Kokkos::DefaultHostExecutionSpace());
    }
#ifdef KOKKOS_ENABLE_CUDA
    return visit(Kokkos::Cuda());
#else
    throw Error(
        "numbers in CUDA memory are to be encoded or decoded, but this Kokkos "
        "has no CUDA; build with a Kokkos that has, or train on the CPU");
#endif
}

}  // namespace fusionllm::detail
