#pragma once

namespace fusionllm {

/*!
 * Let this process keep the memory that it frees, for its next tensors.
 *
 * A step frees and needs the same blocks again and again. As it comes, glibc
 * gives large ones back to the system, which clears them anew: with 8 layers
 * of width 256, 92,000 page faults a step, which take some 5% of it; with
 * this, a few hundred. Costs: the process stays as large as it ever was.
 *
 * Holds for all threads. Blocks above 32 MiB still go back. Does nothing where
 * the C library is not glibc.
 */
void keep_freed_memory();

}  // namespace fusionllm
