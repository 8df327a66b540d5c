#include "host_product.hpp"

#include <algorithm>
#include <cstring>

#include "fusionllm/util/error.hpp"

#include "product_tile.hpp"

namespace fusionllm::detail {
namespace {

constexpr std::uint64_t block_rows = 48;
constexpr std::uint64_t block_panels = 8;
// Of a block of `a`, which the stack holds.
constexpr std::uint64_t block_terms = most_terms_added;

//! A product's part that one work item makes.
struct Part {
    std::uint64_t first_row;
    std::uint64_t end_row;
    std::uint64_t first_panel;
    std::uint64_t end_panel;
};

template <class Number>
std::uint64_t num_row_blocks(const MatrixProduct<Number>& product) {
    return (product.M + block_rows - 1) / block_rows;
}

template <class Number>
Part part_of(const MatrixProduct<Number>& product, std::uint64_t block) {
    const std::uint64_t row = block % num_row_blocks(product) * block_rows;
    const std::uint64_t panel = block / num_row_blocks(product) * block_panels;
    return {row,
            std::min(row + block_rows, product.M),
            panel,
            std::min(panel + block_panels, num_panels<Number>(product.N))};
}

//! Rows of a from m on, `rows` at a time: from `first` to where there are
//! `terms` more.
template <class Number>
struct Slice {
    const Number* from;
    std::uint64_t step;  //!< from a row or from a k to the next
    std::uint64_t num_rows;
    std::uint64_t terms;

    std::uint64_t tile_size(std::uint64_t rows) const {
        return (terms + group - 1) / group * group * rows;
    }
};

//! Rows that are not there are not written.
template <std::uint64_t rows, class Number>
void pack_by_rows(const Slice<Number>& slice, Number* to) {
    for (std::uint64_t i = 0; i < slice.num_rows; ++i) {
        const Number* const from = slice.from + i * slice.step;
        Number* const row =
            to + i / rows * slice.tile_size(rows) + i % rows * group;
        std::uint64_t k = 0;
        for (; k + group <= slice.terms; k += group) {
            std::memcpy(row + k * rows, from + k, sizeof(Number) * group);
        }
        std::copy_n(from + k, slice.terms - k, row + k * rows);
    }
}

//! All rows for each k: they lie together.
template <std::uint64_t rows, class Number>
void pack_by_terms(const Slice<Number>& slice, Number* to) {
    for (std::uint64_t k = 0; k < slice.terms; ++k) {
        const Number* const from = slice.from + k * slice.step;
        Number* tile = to + k * rows;
        std::uint64_t i = 0;
        for (; i + rows <= slice.num_rows; i += rows) {
            std::memcpy(tile, from + i, sizeof(Number) * rows);
            tile += slice.tile_size(rows);
        }
        std::copy_n(from + i, slice.num_rows - i, tile);
    }
}

//! Sums of a tile and where they belong, those that do.
template <class Number>
struct Rest {
    Number* sums;
    std::uint64_t sums_row;
    Number* out;
    std::uint64_t num_rows;
    std::uint64_t num_columns;
};

//! In the order in which `out` lies in memory.
template <class Number, class Visit>
void for_each(const Rest<Number>& rest,
              const MatrixProduct<Number>& product,
              const Visit& visit) {
    constexpr std::uint64_t width = panel_columns<Number>;
    for (std::uint64_t first = 0; first < rest.num_columns; first += width) {
        Number* const sums = rest.sums + first;
        Number* const out = rest.out + first / width * product.out_panel;
        const std::uint64_t size = std::min(width, rest.num_columns - first);
        if (product.out_column == 1 && size == width) {
            for (std::uint64_t i = 0; i < rest.num_rows; ++i) {
                for (std::uint64_t n = 0; n < width; ++n) {
                    visit(sums[i * rest.sums_row + n],
                          out[i * product.out_row + n]);
                }
            }
            continue;
        }
        for (std::uint64_t n = 0; n < size; ++n) {
            for (std::uint64_t i = 0; i < rest.num_rows; ++i) {
                visit(sums[i * rest.sums_row + n],
                      out[i * product.out_row + n * product.out_column]);
            }
        }
    }
}

template <class Number>
void load(const Rest<Number>& rest, const MatrixProduct<Number>& product) {
    for_each(rest, product, [](Number& sum, Number& out) { sum = out; });
}

template <class Number>
void store(const Rest<Number>& rest, const MatrixProduct<Number>& product) {
    if (product.add_to == AddTo::out) {
        for_each(rest, product, [](Number& sum, Number& out) { out += sum; });
    } else {
        for_each(rest, product, [](Number& sum, Number& out) { out = sum; });
    }
}

template <class Number, class Tiles, Packing packing>
class BlockMultiplier {
public:
    BlockMultiplier(const MatrixProduct<Number>& product, const Part& part)
        : product_(product), part_(part) {}

    void multiply() {
        for (std::uint64_t k = 0; k < product_.K || k == 0; k += block_terms) {
            first_term_ = k;
            num_terms_ = std::min(block_terms, product_.K - k);
            pack();
            multiply_panels();
        }
    }

private:
    static constexpr std::uint64_t rows = Tiles::rows;
    static constexpr std::uint64_t columns = panel_columns<Number>;
    static_assert(block_rows % rows == 0);

    const MatrixProduct<Number>& product_;
    Part part_;
    std::uint64_t first_term_ = 0;
    std::uint64_t num_terms_ = 0;
    alignas(64) Number packed_[block_rows * block_terms];

    Slice<Number> slice() const {
        return {product_.a + part_.first_row * product_.a_row +
                    first_term_ * product_.a_inner,
                packing == Packing::by_rows ? product_.a_row : product_.a_inner,
                part_.end_row - part_.first_row,
                num_terms_};
    }

    void pack() {
        const Slice<Number> rest = slice();
        // The last tile may have fewer rows; what is there must be numbers.
        if (rest.num_rows % rows != 0) {
            std::fill_n(packed_ + rest.num_rows / rows * rest.tile_size(rows),
                        rest.tile_size(rows),
                        Number(0));
        }
        if constexpr (packing == Packing::by_rows) {
            pack_by_rows<rows>(rest, packed_);
        } else {
            pack_by_terms<rows>(rest, packed_);
        }
    }

    void multiply_panels() {
        constexpr int most = Tiles::most_panels;
        std::uint64_t panel = part_.first_panel;
        for (; panel + most <= part_.end_panel; panel += most) {
            multiply_rows<most>(panel);
        }
        for (; panel < part_.end_panel; ++panel) {
            multiply_rows<1>(panel);
        }
    }

    template <int panels>
    void multiply_rows(std::uint64_t panel) {
        const Number* a = packed_;
        for (std::uint64_t m = part_.first_row; m < part_.end_row; m += rows) {
            multiply_tile<panels>(a, m, panel);
            a += slice().tile_size(rows);
        }
    }

    template <int panels>
    void multiply_tile(const Number* a, std::uint64_t m, std::uint64_t panel) {
        constexpr std::uint64_t width = panels * columns;
        Rest<Number> rest{
            nullptr,
            width,
            product_.out + m * product_.out_row + panel * product_.out_panel,
            std::min(rows, part_.end_row - m),
            std::min(width, product_.N - panel * columns)};
        Tile<Number> tile{
            a,
            product_.b + panel * product_.b_panel + first_term_ * columns,
            product_.b_panel,
            num_terms_,
            rest.out,
            product_.out_row,
            product_.out_panel,
            first_term_ == 0 ? Start::zero : Start::sums};
        if (rest.num_rows == rows && rest.num_columns == width &&
            product_.out_column == 1 && product_.add_to == AddTo::zero) {
            Tiles::template add<packing, panels>(tile);
            return;
        }
        alignas(64) Number sums[rows * width] = {};
        rest.sums = tile.sums = sums;
        tile.sums_row = width;
        tile.sums_panel = columns;
        if (tile.start == Start::sums) {
            load(rest, product_);
        }
        Tiles::template add<packing, panels>(tile);
        store(rest, product_);
    }
};

template <class Tiles, class Number>
void multiply_with(const MatrixProduct<Number>& product, const Part& part) {
    if (product.a_inner == 1) {
        BlockMultiplier<Number, Tiles, Packing::by_rows>(product, part)
            .multiply();
    } else {
        BlockMultiplier<Number, Tiles, Packing::by_terms>(product, part)
            .multiply();
    }
}

}  // namespace

bool has(Isa isa) {
    switch (isa) {
#if FUSIONLLM_X86_TILES
        case Isa::avx512:
            return __builtin_cpu_supports("avx512f");
        case Isa::avx2:
            return __builtin_cpu_supports("avx2") &&
                   __builtin_cpu_supports("fma");
#endif
        default:
            return isa == Isa::plain;
    }
}

Isa best_isa() {
    return has(Isa::avx512) ? Isa::avx512
           : has(Isa::avx2) ? Isa::avx2
                            : Isa::plain;
}

template <class Number>
std::uint64_t num_blocks(const MatrixProduct<Number>& product) {
    return num_row_blocks(product) *
           ((num_panels<Number>(product.N) + block_panels - 1) / block_panels);
}

template <class Number>
void multiply_block(const MatrixProduct<Number>& product,
                    Isa isa,
                    std::uint64_t block) {
    FUSIONLLM_EXPECTS(product.a_inner == 1 || product.a_row == 1);
    FUSIONLLM_EXPECTS(product.add_to == AddTo::zero ||
                      product.K <= most_terms_added);
    const Part part = part_of(product, block);
    switch (isa) {
#if FUSIONLLM_X86_TILES
        case Isa::avx512:
            return multiply_with<Avx512Tiles<Number>>(product, part);
        case Isa::avx2:
            return multiply_with<Avx2Tiles<Number>>(product, part);
#endif
        default:
            return multiply_with<PlainTiles<Number>>(product, part);
    }
}

template std::uint64_t num_blocks(const MatrixProduct<float>&);
template std::uint64_t num_blocks(const MatrixProduct<double>&);
template void multiply_block(const MatrixProduct<float>&, Isa, std::uint64_t);
template void multiply_block(const MatrixProduct<double>&, Isa, std::uint64_t);

}  // namespace fusionllm::detail
