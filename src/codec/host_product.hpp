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

//! Blocks of 48 rows by 8 panels, those of the same columns together. Numbers
//! are float or double.
template <class Number>
std::uint64_t num_blocks(const MatrixProduct<Number>& product);

template <class Number>
void multiply_block(const MatrixProduct<Number>& product,
                    Isa isa,
                    std::uint64_t block);

//! All blocks, one after the other.
template <class Number>
void multiply(const MatrixProduct<Number>& product) {
    const Isa isa = best_isa();
    for (std::uint64_t i = 0; i < num_blocks(product); ++i) {
        multiply_block(product, isa, i);
    }
}

}  // namespace fusionllm::detail
