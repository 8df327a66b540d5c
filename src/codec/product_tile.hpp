#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "matrix_product.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define FUSIONLLM_X86_TILES 1
#define FUSIONLLM_TARGET(isa) __attribute__((target(isa)))
#define FUSIONLLM_UNROLL _Pragma("GCC unroll 16")
#else
#define FUSIONLLM_X86_TILES 0
#endif

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

struct Tile {
    const float* a;
    const float* b;
    std::size_t b_panel;
    std::size_t terms;
    float* sums;
    std::size_t sums_row;
    std::size_t sums_panel;
    Start start;

    float* sums_at(std::size_t row, std::size_t panel) const {
        return sums + row * sums_row + panel * sums_panel;
    }
};

//! For compilers to vectorise where fma is an instruction; slow elsewhere.
struct PlainTiles {
    static constexpr int rows = 4;
    static constexpr int most_panels = 1;

    template <Packing packing, int panels>
    static void add(const Tile& tile) {
        using Step = Steps<rows, packing>;
        float sums[rows][panel_columns] = {};
        for (std::size_t i = 0; i < rows && tile.start == Start::sums; ++i) {
            std::copy_n(tile.sums_at(i, 0), panel_columns, sums[i]);
        }
        for (std::size_t k = 0; k < tile.terms; ++k) {
            const float* a = tile.a + k / group * group * rows;
            const float* b = tile.b + k * panel_columns;
            for (std::size_t i = 0; i < rows; ++i) {
                const float factor = a[i * Step::row + k % group * Step::k];
                for (std::size_t n = 0; n < panel_columns; ++n) {
                    sums[i][n] = std::fma(factor, b[n], sums[i][n]);
                }
            }
        }
        for (std::size_t i = 0; i < rows; ++i) {
            std::copy_n(sums[i], panel_columns, tile.sums_at(i, 0));
        }
    }
};

#if FUSIONLLM_X86_TILES

//! 12 rows by one or two panels: 24 of 32 registers add.
struct Avx512Tiles {
    static constexpr int rows = 12;
    static constexpr int most_panels = 2;

    template <Packing packing, int panels>
    FUSIONLLM_TARGET("avx512f")
    static void add(const Tile& tile) {
        using Step = Steps<rows, packing>;
        __m512 sums[rows][panels];
        FUSIONLLM_UNROLL
        for (int i = 0; i < rows; ++i) {
            FUSIONLLM_UNROLL
            for (int j = 0; j < panels; ++j) {
                sums[i][j] = tile.start == Start::zero
                                 ? _mm512_setzero_ps()
                                 : _mm512_loadu_ps(tile.sums_at(i, j));
            }
        }
        const float* a = tile.a;
        const float* b = tile.b;
        for (std::size_t left = tile.terms; left > 0;) {
            const std::size_t size = left < group ? left : group;
            for (std::size_t k = 0; k < size; ++k) {
                __m512 factors[panels];
                FUSIONLLM_UNROLL
                for (int j = 0; j < panels; ++j) {
                    factors[j] = _mm512_loadu_ps(b + j * tile.b_panel);
                }
                FUSIONLLM_UNROLL
                for (int i = 0; i < rows; ++i) {
                    const __m512 factor = _mm512_set1_ps(a[i * Step::row]);
                    FUSIONLLM_UNROLL
                    for (int j = 0; j < panels; ++j) {
                        sums[i][j] =
                            _mm512_fmadd_ps(factor, factors[j], sums[i][j]);
                    }
                }
                a += Step::k;
                b += panel_columns;
            }
            a += group * (rows - Step::k);
            left -= size;
        }
        FUSIONLLM_UNROLL
        for (int i = 0; i < rows; ++i) {
            FUSIONLLM_UNROLL
            for (int j = 0; j < panels; ++j) {
                _mm512_storeu_ps(tile.sums_at(i, j), sums[i][j]);
            }
        }
    }
};

//! 6 rows by one panel: 12 of 16 registers add.
struct Avx2Tiles {
    static constexpr int rows = 6;
    static constexpr int most_panels = 1;

    template <Packing packing, int panels>
    FUSIONLLM_TARGET("avx2,fma")
    static void add(const Tile& tile) {
        using Step = Steps<rows, packing>;
        __m256 sums[rows][2];
        FUSIONLLM_UNROLL
        for (int i = 0; i < rows; ++i) {
            FUSIONLLM_UNROLL
            for (int j = 0; j < 2; ++j) {
                sums[i][j] = tile.start == Start::zero
                                 ? _mm256_setzero_ps()
                                 : _mm256_loadu_ps(tile.sums_at(i, 0) + 8 * j);
            }
        }
        const float* a = tile.a;
        const float* b = tile.b;
        for (std::size_t left = tile.terms; left > 0;) {
            const std::size_t size = left < group ? left : group;
            for (std::size_t k = 0; k < size; ++k) {
                const __m256 low = _mm256_loadu_ps(b);
                const __m256 high = _mm256_loadu_ps(b + 8);
                FUSIONLLM_UNROLL
                for (int i = 0; i < rows; ++i) {
                    const __m256 factor = _mm256_set1_ps(a[i * Step::row]);
                    sums[i][0] = _mm256_fmadd_ps(factor, low, sums[i][0]);
                    sums[i][1] = _mm256_fmadd_ps(factor, high, sums[i][1]);
                }
                a += Step::k;
                b += panel_columns;
            }
            a += group * (rows - Step::k);
            left -= size;
        }
        FUSIONLLM_UNROLL
        for (int i = 0; i < rows; ++i) {
            _mm256_storeu_ps(tile.sums_at(i, 0), sums[i][0]);
            _mm256_storeu_ps(tile.sums_at(i, 0) + 8, sums[i][1]);
        }
    }
};

#endif

}  // namespace fusionllm::detail
