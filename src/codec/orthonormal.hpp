#pragma once

#include <cstdint>
#include <vector>

namespace fusionllm::detail {

/*!
 * Make `num_vectors` vectors orthonormal, in their order (Gram-Schmidt, each
 * twice); in place. One that depends on those before it becomes a unit vector
 * that does not. At most as many vectors as they have elements.
 */
void orthonormalise(std::vector<double>& vectors, std::uint64_t num_vectors);

/*!
 * Eigenvectors of a symmetric matrix of `size` rows, one after the other, that
 * of the largest eigenvalue first (cyclic Jacobi; about 60 size^3 flops).
 */
std::vector<double> find_eigenvectors(std::vector<double> matrix,
                                      std::uint64_t size);

}  // namespace fusionllm::detail
