#pragma once

#include <string>

namespace fusionllm {

/*!
 * Threads of ATen, OpenMP and the BLAS for ops that the calling thread runs.
 *
 * `at::set_num_threads` alone leaves OpenBLAS on all cores, and OpenMP's number
 * belongs to the thread that sets it: call this on the compute thread.
 */
void set_num_threads(int num_threads);

//! The BLAS that LibTorch runs on: "OpenBLAS 0.3.21 (Haswell)", "MKL", or
//! "reference or unknown BLAS".
std::string blas_name();

/*!
 * One sentence on a BLAS that is several times slower than this processor
 * allows, and what to try; empty if there is nothing to say.
 *
 * An OpenBLAS that is older than a processor may take it for one of 2004.
 */
std::string blas_advice();

namespace detail {
//! The same for an OpenBLAS that computes as for `core`, on a processor with
//! the instructions of AVX2 and of AVX-512, or without.
std::string openblas_advice(const std::string& core,
                            bool has_avx2,
                            bool has_avx512);
}  // namespace detail

//! "1.13.1"
std::string libtorch_version();

}  // namespace fusionllm
