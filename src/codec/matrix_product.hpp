#pragma once

#include <cstdint>

namespace fusionllm::detail {

//! Columns of b that lie together: a cache line of them for each k.
template <class Number>
inline constexpr std::uint64_t panel_columns = 64 / sizeof(Number);

template <class Number>
constexpr std::uint64_t num_panels(std::uint64_t columns) {
    return (columns + panel_columns<Number> - 1) / panel_columns<Number>;
}

template <class Number>
constexpr std::uint64_t whole_panels(std::uint64_t columns) {
    return num_panels<Number>(columns) * panel_columns<Number>;
}

//! Where element (k, n) of a matrix is that has room for `terms` rows.
template <class Number>
constexpr std::uint64_t panel_index(std::uint64_t k,
                                    std::uint64_t n,
                                    std::uint64_t terms) {
    constexpr std::uint64_t width = panel_columns<Number>;
    return (n / width * terms + k) * width + n % width;
}

//! What the sums of a product are added to.
enum class AddTo { zero, out };

//! Of AddTo::out, the largest K.
inline constexpr std::uint64_t most_terms_added = 1024;

/*!
 * out(m, n) = sum over k of a(m, k) b(k, n): M x N, of K terms.
 *
 * Each sum is one chain of fused multiply-adds in the order of k that begins at
 * zero, so that it has the same bits on any processor, with any tiles and any
 * threads. AddTo::out adds the whole sum to what is there.
 *
 * a(m, k) is a[m a_row + k a_inner], one of the two being 1; b is in panels,
 * and there are numbers beyond N, too; out(m, n) is at m out_row + n / w
 * out_panel + n % w out_column of panels w wide, and not written beyond N.
 */
template <class Number>
struct MatrixProduct {
    const Number* a;
    std::uint64_t a_row;
    std::uint64_t a_inner;
    const Number* b;
    std::uint64_t b_panel;  //!< from one panel to the next
    Number* out;
    std::uint64_t out_row;
    std::uint64_t out_column;
    std::uint64_t out_panel;
    std::uint64_t M;
    std::uint64_t N;
    std::uint64_t K;
    AddTo add_to;
};

}  // namespace fusionllm::detail
