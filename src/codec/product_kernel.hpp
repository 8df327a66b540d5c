#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include <Kokkos_Core.hpp>

#include "host_product.hpp"
#include "matrix_product.hpp"

namespace fusionllm::detail {

//! Work item: 4 rows by 8 columns. For devices, but it runs anywhere.
struct DeviceProduct {
    static constexpr int rows = 4;
    static constexpr int lanes = 8;

    MatrixProduct<float> product;

    std::uint64_t num_items() const {
        return (product.M + rows - 1) / rows * num_lanes();
    }

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t item) const {
        const MatrixProduct<float>& p = product;
        const std::uint64_t m = item / num_lanes() * rows;
        const std::uint64_t n = item % num_lanes() * lanes;
        // Beyond the last row the last again, which is not written.
        const float* from[rows];
        for (int i = 0; i < rows; ++i) {
            const std::uint64_t row = m + static_cast<std::uint64_t>(i);
            from[i] = p.a + (row < p.M ? row : p.M - 1) * p.a_row;
        }
        const float* const b = p.b + n / panel_columns<float> * p.b_panel +
                               n % panel_columns<float>;
        float sums[rows][lanes] = {};
        for (std::uint64_t k = 0; k < p.K; ++k) {
            for (int i = 0; i < rows; ++i) {
                const float factor = from[i][k * p.a_inner];
                for (int j = 0; j < lanes; ++j) {
                    sums[i][j] = fmaf(
                        factor, b[k * panel_columns<float> + j], sums[i][j]);
                }
            }
        }
        store(m, n, sums);
    }

    KOKKOS_INLINE_FUNCTION std::uint64_t num_lanes() const {
        return (product.N + lanes - 1) / lanes;
    }

    KOKKOS_INLINE_FUNCTION void store(std::uint64_t m,
                                      std::uint64_t n,
                                      const float (&sums)[rows][lanes]) const {
        const MatrixProduct<float>& p = product;
        for (std::uint64_t i = 0; i < rows && m + i < p.M; ++i) {
            for (std::uint64_t j = 0; j < lanes && n + j < p.N; ++j) {
                float& out =
                    p.out[(m + i) * p.out_row +
                          (n + j) / panel_columns<float> * p.out_panel +
                          (n + j) % panel_columns<float> * p.out_column];
                out = p.add_to == AddTo::out ? out + sums[i][j] : sums[i][j];
            }
        }
    }
};

//! Work item: a block of `multiply_block`.
struct HostProduct {
    MatrixProduct<float> product;
    Isa isa = best_isa();

    std::uint64_t num_items() const { return num_blocks(product); }

    void operator()(std::uint64_t item) const {
        multiply_block(product, isa, item);
    }
};

//! The kernel for where an execution space runs.
template <class Execution>
using ProductKernel = std::conditional_t<
    std::is_same_v<typename Execution::memory_space, Kokkos::HostSpace>,
    HostProduct,
    DeviceProduct>;

template <class Execution, class Kernel>
auto items_of(const Execution& execution, const Kernel& kernel) {
    return Kokkos::RangePolicy<Execution, Kokkos::IndexType<std::uint64_t>>(
        execution, 0, kernel.num_items());
}

}  // namespace fusionllm::detail
