#pragma once

#include <memory>
#include <string>

namespace fusionllm {

/*!
 * Kokkos for the lifetime of this object: make it on the thread that will run
 * all kernels, once a process.
 */
class KokkosScope {
public:
    //! \param num_threads threads of a host-parallel execution space
    explicit KokkosScope(int num_threads);
    ~KokkosScope();
    KokkosScope(const KokkosScope&) = delete;
    KokkosScope& operator=(const KokkosScope&) = delete;
};

//! "3.4.1 (Serial)"
std::string kokkos_version();

//! Whether kernels can reach CUDA memory.
bool kokkos_has_cuda();

}  // namespace fusionllm
