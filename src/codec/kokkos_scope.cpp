#include "fusionllm/codec/kokkos_scope.hpp"

#include <Kokkos_Core.hpp>
#include <fmt/format.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm {

KokkosScope::KokkosScope(int num_threads) {
#ifdef KOKKOS_ENABLE_CUDA
    int num_devices = 0;
    // Kokkos would abort the process.
    FUSIONLLM_VALIDATE(
        cudaGetDeviceCount(&num_devices) == cudaSuccess && num_devices > 0,
        "this program was built with a Kokkos for CUDA, which starts only "
        "where there is a CUDA device, and this host shows none; run on "
        "another host, or build with a Kokkos without CUDA");
#endif
#if KOKKOS_VERSION >= 30700
    Kokkos::initialize(
        Kokkos::InitializationSettings().set_num_threads(num_threads));
#else
    Kokkos::InitArguments arguments;
    arguments.num_threads = num_threads;
    arguments.disable_warnings = true;
    Kokkos::initialize(arguments);
#endif
}

KokkosScope::~KokkosScope() {
    Kokkos::finalize();
}

std::string kokkos_version() {
    return fmt::format("{}.{}.{} ({})",
                       KOKKOS_VERSION / 10000,
                       KOKKOS_VERSION / 100 % 100,
                       KOKKOS_VERSION % 100,
                       Kokkos::DefaultExecutionSpace::name());
}

bool kokkos_has_cuda() {
#ifdef KOKKOS_ENABLE_CUDA
    return true;
#else
    return false;
#endif
}

}  // namespace fusionllm
