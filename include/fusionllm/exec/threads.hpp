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

//! "1.13.1"
std::string libtorch_version();

}  // namespace fusionllm
