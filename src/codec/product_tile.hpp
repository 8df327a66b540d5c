#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "matrix_product.hpp"
#include "x86_vector.hpp"

// Tiles of a product: each sum goes on, from zero or from what it is, by a
// chain of fma(a(i, k), b(k, n), sum).
namespace fusionllm::detail {

//! The rows of a are packed in groups of this many k.
inline constexpr std::size_t group = 16;

//! Whether a row of a group lies in one piece, or what belongs to a k does.
enum class Packing { by_rows, by_terms };

//! From an element of a group to the next.
template <int rows, Packing packing>
struct Steps {
    static constexpr std::size_t row = packing == Packing::by_rows ? group : 1;
    static constexpr std::size_t k = packing == Packing::by_rows ? 1 : rows;
};

enum class Start { zero, sums };

template <class Number>
struct Tile {
    const Number* a;
    const Number* b;
    std::size_t b_panel;
    std::size_t terms;
    Number* sums;
    std::size_t sums_row;
    std::size_t sums_panel;
    Start start;

    Number* sums_at(std::size_t row, std::size_t panel) const {
        return sums + row * sums_row + panel * sums_panel;
    }
};

//! For compilers to vectorise where fma is an instruction; slow elsewhere.
template <class Number>
struct PlainTiles {
    static constexpr int rows = 4;
    static constexpr int most_panels = 1;
    static constexpr std::size_t columns = panel_columns<Number>;

    template <Packing packing, int panels>
    static void add(const Tile<Number>& tile) {
        using Step = Steps<rows, packing>;
        Number sums[rows][columns] = {};
        for (std::size_t i = 0; i < rows && tile.start == Start::sums; ++i) {
            std::copy_n(tile.sums_at(i, 0), columns, sums[i]);
        }
        for (std::size_t k = 0; k < tile.terms; ++k) {
            const Number* a = tile.a + k / group * group * rows;
            const Number* b = tile.b + k * columns;
            for (std::size_t i = 0; i < rows; ++i) {
                const Number factor = a[i * Step::row + k % group * Step::k];
                for (std::size_t n = 0; n < columns; ++n) {
                    sums[i][n] = std::fma(factor, b[n], sums[i][n]);
                }
            }
        }
        for (std::size_t i = 0; i < rows; ++i) {
            std::copy_n(sums[i], columns, tile.sums_at(i, 0));
        }
    }
};

#if FUSIONLLM_X86_TILES

//! 12 rows by one or two panels: 24 of 32 registers add.
template <class Number>
struct Avx512Tiles {
    using Vector = Avx512Vector<Number>;
    using Type = typename Vector::Type;
    static constexpr int rows = 12;
    static constexpr int most_panels = 2;
    static constexpr std::size_t columns = panel_columns<Number>;

    template <Packing packing, int panels>
    FUSIONLLM_TARGET("avx512f")
    static void add(const Tile<Number>& tile) {
        using Step = Steps<rows, packing>;
        Type sums[rows][panels];
        FUSIONLLM_UNROLL
        for (int i = 0; i < rows * panels; ++i) {
            sums[i % rows][i / rows] =
                tile.start == Start::zero
                    ? Vector::zero()
                    : Vector::load(tile.sums_at(i % rows, i / rows));
        }
        const Number* a = tile.a;
        const Number* b = tile.b;
        for (std::size_t left = tile.terms; left > 0;) {
            const std::size_t size = left < group ? left : group;
            for (std::size_t k = 0; k < size; ++k) {
                add_term<Step::row>(a, b, tile.b_panel, sums);
                a += Step::k;
                b += columns;
            }
            a += group * (rows - Step::k);
            left -= size;
        }
        FUSIONLLM_UNROLL
        for (int i = 0; i < rows * panels; ++i) {
            Vector::store(tile.sums_at(i % rows, i / rows),
                          sums[i % rows][i / rows]);
        }
    }

private:
    template <std::size_t row_step, int panels>
    FUSIONLLM_TARGET_INLINE("avx512f")
    static void add_term(const Number* a,
                         const Number* b,
                         std::size_t b_panel,
                         Type (&sums)[rows][panels]) {
        Type factors[panels];
        for (int j = 0; j < panels; ++j) {
            factors[j] = Vector::load(b + j * b_panel);
        }
        FUSIONLLM_UNROLL
        for (int i = 0; i < rows; ++i) {
            const Type factor = Vector::fill(a[i * row_step]);
            for (int j = 0; j < panels; ++j) {
                sums[i][j] = Vector::fma(factor, factors[j], sums[i][j]);
            }
        }
    }
};

//! 6 rows by one panel: 12 of 16 registers add.
template <class Number>
struct Avx2Tiles {
    using Vector = Avx2Vector<Number>;
    using Type = typename Vector::Type;
    static constexpr int rows = 6;
    static constexpr int most_panels = 1;
    static constexpr std::size_t columns = panel_columns<Number>;
    static constexpr std::size_t half = columns / 2;

    template <Packing packing, int panels>
    FUSIONLLM_TARGET("avx2,fma")
    static void add(const Tile<Number>& tile) {
        using Step = Steps<rows, packing>;
        Type sums[rows][2];
        FUSIONLLM_UNROLL
        for (int i = 0; i < rows; ++i) {
            const Number* const from = tile.sums_at(i, 0);
            const bool is_zero = tile.start == Start::zero;
            sums[i][0] = is_zero ? Vector::zero() : Vector::load(from);
            sums[i][1] = is_zero ? Vector::zero() : Vector::load(from + half);
        }
        const Number* a = tile.a;
        const Number* b = tile.b;
        for (std::size_t left = tile.terms; left > 0;) {
            const std::size_t size = left < group ? left : group;
            for (std::size_t k = 0; k < size; ++k) {
                const Type low = Vector::load(b);
                const Type high = Vector::load(b + half);
                FUSIONLLM_UNROLL
                for (int i = 0; i < rows; ++i) {
                    const Type factor = Vector::fill(a[i * Step::row]);
                    sums[i][0] = Vector::fma(factor, low, sums[i][0]);
                    sums[i][1] = Vector::fma(factor, high, sums[i][1]);
                }
                a += Step::k;
                b += columns;
            }
            a += group * (rows - Step::k);
            left -= size;
        }
        FUSIONLLM_UNROLL
        for (int i = 0; i < rows; ++i) {
            Vector::store(tile.sums_at(i, 0), sums[i][0]);
            Vector::store(tile.sums_at(i, 0) + half, sums[i][1]);
        }
    }
};

#endif

}  // namespace fusionllm::detail
