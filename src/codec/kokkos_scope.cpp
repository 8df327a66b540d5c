#include "fusionllm/codec/kokkos_scope.hpp"

#include <Kokkos_Core.hpp>
#include <fmt/format.h>

namespace fusionllm {

KokkosScope::KokkosScope(int num_threads) {
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
