#include "fusionllm/exec/threads.hpp"

#include <algorithm>
#include <array>
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

//! OpenBLAS's names of x86 processors without AVX.
constexpr std::array<std::string_view, 14> cores_without_avx = {"Katmai",
                                                                "Coppermine",
                                                                "Northwood",
                                                                "Prescott",
                                                                "Banias",
                                                                "Core2",
                                                                "Penryn",
                                                                "Dunnington",
                                                                "Nehalem",
                                                                "Athlon",
                                                                "Opteron",
                                                                "Barcelona",
                                                                "Bobcat",
                                                                "Atom"};

bool has_avx2() {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") != 0 &&
           __builtin_cpu_supports("fma") != 0;
#else
    return false;
#endif
}

bool has_avx512() {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512f") != 0 &&
           __builtin_cpu_supports("avx512dq") != 0;
#else
    return false;
#endif
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

std::string blas_advice() {
    auto* core = find_symbol<char*()>("openblas_get_corename");
    return at::hasMKL() || core == nullptr
               ? ""
               : detail::openblas_advice(core(), has_avx2(), has_avx512());
}

std::string detail::openblas_advice(const std::string& core,
                                    bool has_avx2,
                                    bool has_avx512) {
    if (!has_avx2 ||
        std::ranges::find(cores_without_avx, core) == cores_without_avx.end()) {
        return "";
    }
    return fmt::format(
        "OpenBLAS does not know this processor and computes as for a {}, "
        "several times slower than it could; set OPENBLAS_CORETYPE={} in the "
        "environment of all ranks",
        core,
        has_avx512 ? "SKYLAKEX" : "HASWELL");
}

std::string libtorch_version() {
    return TORCH_VERSION;
}

}  // namespace fusionllm
