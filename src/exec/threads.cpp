#include "fusionllm/exec/threads.hpp"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <omp.h>
#include <torch/csrc/api/include/torch/version.h>

namespace fusionllm {
namespace {

//! A function of whichever library has it; null if none does.
template <class Function>
Function* find_symbol(const char* name) {
    return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

}  // namespace

void set_num_threads(int num_threads) {
    at::set_num_threads(num_threads);
    omp_set_num_threads(num_threads);
    if (auto* set = find_symbol<void(int)>("openblas_set_num_threads")) {
        set(num_threads);
    }
}

std::string blas_name() {
    if (auto* config = find_symbol<char*()>("openblas_get_config")) {
        auto* core = find_symbol<char*()>("openblas_get_corename");
        const std::string text = config();
        // "OpenBLAS 0.3.21 DYNAMIC_ARCH ...": the first two words say it.
        const auto end = text.find(' ', text.find(' ') + 1);
        return fmt::format(
            "{} ({})", text.substr(0, end), core ? core() : "unknown core");
    }
    if (at::hasMKL()) {
        return "MKL";
    }
    return "reference or unknown BLAS (tens of times slower than OpenBLAS)";
}

std::string libtorch_version() {
    return TORCH_VERSION;
}

}  // namespace fusionllm
