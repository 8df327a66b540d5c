#include "fusionllm/exec/threads.hpp"

#include <string>
#include <thread>

#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <omp.h>

namespace fusionllm::test {
namespace {

//! Null if the BLAS is another one.
int (*find_openblas_threads())() {
    return reinterpret_cast<int (*)()>(
        dlsym(RTLD_DEFAULT, "openblas_get_num_threads"));
}

TEST(SetNumThreads, limits_aten_openmp_and_the_blas) {
    auto* const openblas_threads = find_openblas_threads();

    for (const int threads : {2, 1}) {
        std::thread([&] {
            set_num_threads(threads);

            EXPECT_EQ(at::get_num_threads(), threads);
            EXPECT_EQ(omp_get_max_threads(), threads);
            if (openblas_threads != nullptr) {
                EXPECT_EQ(openblas_threads(), threads);
            }
        }).join();
    }
}

TEST(BlasName, names_openblas_exactly_when_it_is_there) {
    const std::string name = blas_name();

    EXPECT_FALSE(name.empty());
    EXPECT_EQ(name.starts_with("OpenBLAS"), find_openblas_threads() != nullptr)
        << name;
}

TEST(BlasAdvice, names_a_core_that_the_processor_has_outgrown) {
    const std::string advice = detail::openblas_advice("Prescott", true, true);

    EXPECT_NE(advice.find("Prescott"), std::string::npos) << advice;
    EXPECT_NE(advice.find("OPENBLAS_CORETYPE=SKYLAKEX"), std::string::npos)
        << advice;
    EXPECT_NE(detail::openblas_advice("Nehalem", true, false).find("=HASWELL"),
              std::string::npos);
}

TEST(BlasAdvice, has_nothing_to_say_of_a_core_that_fits) {
    EXPECT_EQ(detail::openblas_advice("Zen", true, false), "");
    EXPECT_EQ(detail::openblas_advice("SkylakeX", true, true), "");
    EXPECT_EQ(detail::openblas_advice("Prescott", false, false), "");
}

TEST(LibtorchVersion, is_a_number_with_points) {
    const std::string version = libtorch_version();

    EXPECT_TRUE(version.starts_with("1.") || version.starts_with("2."))
        << version;
}

}  // namespace
}  // namespace fusionllm::test
