#include "fusionllm/exec/threads.hpp"

#include <string_view>

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

//! "MKL 2024.2", from "Intel(R) ... Version 2024.2-Product Build ...".
std::string mkl_name() {
    auto* get_version = find_symbol<void(char*, int)>("MKL_Get_Version_String");
    if (get_version == nullptr) {
        return "MKL";
    }
    char text[256] = {};
    get_version(text, static_cast<int>(sizeof(text)) - 1);
    constexpr std::string_view word = "Version ";
    const std::string_view all = text;
    const auto found = all.find(word);
    if (found == std::string_view::npos) {
        return "MKL";
    }
    const auto rest = all.substr(found + word.size());
    return fmt::format("MKL {}", rest.substr(0, rest.find_first_of("- ")));
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
    // First, for another library of the process may have brought OpenBLAS.
    if (at::hasMKL()) {
        return mkl_name();
    }
    if (auto* config = find_symbol<char*()>("openblas_get_config")) {
        auto* core = find_symbol<char*()>("openblas_get_corename");
        const std::string text = config();
        // "OpenBLAS 0.3.21 DYNAMIC_ARCH ...": the first two words say it.
        const auto end = text.find(' ', text.find(' ') + 1);
        return fmt::format(
            "{} ({})", text.substr(0, end), core ? core() : "unknown core");
    }
    return "reference or unknown BLAS (tens of times slower than OpenBLAS)";
}

std::string libtorch_version() {
    return TORCH_VERSION;
}

}  // namespace fusionllm
