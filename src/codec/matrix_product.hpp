#pragma once

#include <cstdint>

namespace fusionllm::detail {

//! Columns of b that lie together, a cache line of them for each k.
inline constexpr std::uint64_t panel_columns = 16;

inline constexpr std::uint64_t num_panels(std::uint64_t columns) {
    return (columns + panel_columns - 1) / panel_columns;
}

inline constexpr std::uint64_t whole_panels(std::uint64_t columns) {
    return num_panels(columns) * panel_columns;
}

//! Where element (k, n) of a matrix of `terms` rows is, as panels.
inline constexpr std::uint64_t panel_index(std::uint64_t k,
                                           std::uint64_t n,
                                           std::uint64_t terms) {
    return (n / panel_columns * terms + k) * panel_columns + n % panel_columns;
}

//! What the sums of a product are added to.
enum class AddTo { zero, out };

//! Of AddTo::out, the largest K.
inline constexpr std::uint64_t most_terms_added = 1024;

/*!
 * out(m, n) = sum over k of a(m, k) b(k, n): M x N, of K terms.
 *
 * All numbers are f32, and each sum is one chain of fused multiply-adds in the
 * order of k that begins at zero: it has the same bits on any processor, with
 * any tiles and any threads. AddTo::out adds the whole sum to what is there.
 *
 * a(m, k) is a[m a_row + k a_inner], one of the two being 1; b is in panels,
 * padded with zeros; out(m, n) is at m out_row + n / 16 out_panel + n % 16
 * out_column. out beyond N is not written.
 */
struct MatrixProduct {
    const float* a;
    std::uint64_t a_row;
    std::uint64_t a_inner;
    const float* b;
    std::uint64_t b_panel;  //!< from one panel to the next
    float* out;
    std::uint64_t out_row;
    std::uint64_t out_column;
    std::uint64_t out_panel;
    std::uint64_t M;
    std::uint64_t N;
    std::uint64_t K;
    AddTo add_to;
};

}  // namespace fusionllm::detail
