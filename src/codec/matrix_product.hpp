#pragma once

#include <cstdint>

#include <Kokkos_Core.hpp>

namespace fusionllm::detail {

//! Columns of a product that are summed together, in registers.
inline constexpr int lanes = 8;

inline constexpr std::uint64_t whole_lanes(std::uint64_t columns) {
    return (columns + lanes - 1) / lanes * lanes;
}

//! What a product is added to.
enum class AddTo { zero, out };

/*!
 * out(m, n) = sum over k, in its order, of a(m, k) b(k, n); M x N, K terms.
 *
 * Two f32 multiply to a double without rounding, so sums are the same whether
 * or not a compiler contracts them; b may be double where its numbers are f32
 * all the same. Work item: `rows` rows by `lanes` columns.
 *
 * b's rows are `whole_lanes(N)` long.
 */
template <int rows, AddTo add_to, class B, class Out>
struct Product {
    const float* a;
    std::uint64_t a_row;    //!< from one m to the next
    std::uint64_t a_inner;  //!< from one k to the next
    const B* b;
    Out* out;
    std::uint64_t out_row;
    std::uint64_t out_column;
    std::uint64_t M;
    std::uint64_t N;
    std::uint64_t K;

    std::uint64_t num_items() const {
        return (M + rows - 1) / rows * (whole_lanes(N) / lanes);
    }

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t item) const {
        const std::uint64_t width = (N + lanes - 1) / lanes;
        const std::uint64_t m = item / width * rows;
        const std::uint64_t n = item % width * lanes;
        // Beyond the last row the last again, which is not written.
        const float* from[rows];
        for (int i = 0; i < rows; ++i) {
            const std::uint64_t row = m + static_cast<std::uint64_t>(i);
            from[i] = a + (row < M ? row : M - 1) * a_row;
        }
        double sums[rows][lanes] = {};
        if constexpr (add_to == AddTo::out) {
            for_each(m, n, [&](std::uint64_t at, std::uint64_t i, int j) {
                sums[i][j] = out[at];
            });
        }
        for (std::uint64_t k = 0; k < K; ++k) {
            const B* factors = b + k * width * lanes + n;
            for (int i = 0; i < rows; ++i) {
                const double factor = from[i][k * a_inner];
                for (int j = 0; j < lanes; ++j) {
                    sums[i][j] += factor * static_cast<double>(factors[j]);
                }
            }
        }
        for_each(m, n, [&](std::uint64_t at, std::uint64_t i, int j) {
            out[at] = static_cast<Out>(sums[i][j]);
        });
    }

    //! Of what there is of a work item's results, and where it lies.
    template <class Visit>
    KOKKOS_INLINE_FUNCTION void for_each(std::uint64_t m,
                                         std::uint64_t n,
                                         const Visit& visit) const {
        for (std::uint64_t i = 0; i < rows && m + i < M; ++i) {
            for (std::uint64_t j = 0; j < lanes && n + j < N; ++j) {
                visit((m + i) * out_row + (n + j) * out_column,
                      i,
                      static_cast<int>(j));
            }
        }
    }
};

}  // namespace fusionllm::detail
