#pragma once

#include <cstdint>

#include "matrix_product.hpp"

// Matrix products on processors. No Kokkos here, and no CUDA compiler: what is
// compiled for several instruction sets is plain C++.
namespace fusionllm::detail {

//! What a tile is compiled for; results have the same bits with each.
enum class Isa { plain, avx2, avx512 };

//! Whether this program has it and this processor too.
bool has(Isa isa);

Isa best_isa();

//! Blocks of 48 rows by 128 columns, those of the same columns together.
std::uint64_t num_blocks(const MatrixProduct& product);

void multiply_block(const MatrixProduct& product, Isa isa, std::uint64_t block);

}  // namespace fusionllm::detail
