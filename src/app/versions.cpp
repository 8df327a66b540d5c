#include "app/versions.hpp"

#include <dlfcn.h>

#include "fusionllm/codec/kokkos_scope.hpp"
#include "fusionllm/comm/mpi.hpp"
#include "fusionllm/exec/threads.hpp"
#include "fusionllm/io/hdf5_version.hpp"

namespace fusionllm {
namespace {

//! UCX is loaded by MPI if it wants it; we only say which one is there.
std::string ucx_version() {
    void* library = dlopen("libucp.so.0", RTLD_LAZY | RTLD_LOCAL);
    if (library == nullptr) {
        return "not installed";
    }
    const auto version = reinterpret_cast<const char* (*)()>(
        dlsym(library, "ucp_get_version_string"));
    return version != nullptr ? version() : "unknown";
}

}  // namespace

std::vector<std::pair<std::string, std::string>> list_versions() {
    return {{"FusionLLM", FUSIONLLM_VERSION},
            {"LibTorch", libtorch_version()},
            {"BLAS", blas_name()},
            {"Kokkos", kokkos_version()},
            {"HDF5", hdf5_version()},
            {"MPI", mpi::library_version()},
            {"UCX", ucx_version()}};
}

}  // namespace fusionllm
