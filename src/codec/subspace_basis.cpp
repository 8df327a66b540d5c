#include "subspace_basis.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fusionllm/util/random.hpp"

#include "execution.hpp"
#include "orthonormal.hpp"
#include "product_kernel.hpp"
#include "tile_scale.hpp"
#include "value_bits.hpp"
#include "vector_set.hpp"

namespace fusionllm {
namespace {

constexpr int cold_iterations = 4;
constexpr int warm_iterations = 2;
// Where an iteration takes seconds; the next basis goes on from there.
constexpr int warm_iterations_of_many = 1;
// Vectors beyond those kept, for which those kept would otherwise be mixed up
// with the next ones; where choosing among them is not too long.
constexpr std::uint64_t more_vectors = 8;
constexpr std::uint64_t most_to_choose_from = 256;
constexpr std::uint64_t start_seed = 0x5B5BACE;

//! Vectors one after the other, on the host.
using Vectors = std::vector<double>;

Vectors make_start(const BasisBits& previous,
                   std::uint64_t columns,
                   std::uint64_t kept,
                   std::uint64_t num_vectors) {
    Vectors vectors(columns * num_vectors);
    const PhiloxKey key = make_philox_key(start_seed);
    for (std::uint64_t j = 0; j < num_vectors; ++j) {
        for (std::uint64_t c = 0; c < columns; ++c) {
            double& number = vectors[j * columns + c];
            if (j < kept && !previous.empty()) {
                number = detail::float_of_f16(previous[c * kept + j]);
                continue;
            }
            const PhiloxBlock random = philox({{static_cast<std::uint32_t>(c),
                                                static_cast<std::uint32_t>(j),
                                                0,
                                                0}},
                                              key);
            number = static_cast<std::int32_t>(random.words[0]) * 0x1p-31;
        }
    }
    return vectors;
}

/*!
 * Rayleigh and Ritz: G times the vectors in the span of `vectors` that are
 * nearest to eigenvectors of G, that of the largest eigenvalue first.
 *
 * \param product G times the vectors, which are orthonormal
 */
Vectors choose(const Vectors& vectors,
               const Vectors& product,
               std::uint64_t columns) {
    const std::uint64_t size = vectors.size() / columns;
    detail::VectorSet products(size, columns);
    products.add(product);
    const std::vector<double> dots = products.dots(vectors);
    std::vector<double> small(size * size);
    for (std::uint64_t i = 0; i < size; ++i) {
        for (std::uint64_t j = 0; j < size; ++j) {
            small[i * size + j] =
                dots[i * size + j] / 2 + dots[j * size + i] / 2;
        }
    }
    return products.combine(detail::find_eigenvectors(std::move(small), size));
}

BasisBits round_to_f16(const Vectors& vectors,
                       std::uint64_t columns,
                       std::uint64_t kept) {
    BasisBits bits(columns * kept);
    for (std::uint64_t j = 0; j < kept; ++j) {
        for (std::uint64_t c = 0; c < columns; ++c) {
            bits[c * kept + j] =
                detail::f16_of(static_cast<float>(vectors[j * columns + c]));
        }
    }
    return bits;
}

BasisBits make_unit_vectors(std::uint64_t columns, std::uint64_t kept) {
    BasisBits bits(columns * kept);
    for (std::uint64_t j = 0; j < kept; ++j) {
        bits[j * kept + j] = detail::f16_of(1.0f);
    }
    return bits;
}

//! A work item: the largest exponent of 64 numbers, as f32 has it.
struct LargestExponent {
    const float* numbers;
    std::uint64_t size;

    static constexpr std::uint64_t at_once = 64;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t item,
                                           int& largest) const {
        const std::uint64_t first = item * at_once;
        const std::uint64_t left = size - first;
        const std::uint32_t bits = detail::find_largest(
            numbers + first, static_cast<int>(left < at_once ? left : at_once));
        const int exponent = static_cast<int>(bits >> 23);
        largest = exponent > largest ? exponent : largest;
    }
};

struct Scale {
    float* numbers;
    float factor;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t i) const {
        numbers[i] *= factor;
    }
};

//! X^T X, for products with vectors; times some power of two, with which
//! products of tiny and of large numbers are f32, too.
template <class Execution>
class Gram {
public:
    Gram(const Execution& execution,
         std::span<const float> x,
         const MatrixShape& shape,
         std::uint64_t kept)
        : execution_(execution),
          x_(x.data()),
          shape_(shape),
          kept_(kept),
          width_(detail::whole_panels<float>(kept)),
          factor_(find_factor()),
          v_("FusionLLM::Subspace::v", shape.columns * width_),
          projected_("FusionLLM::Subspace::projected", shape.rows * width_),
          product_("FusionLLM::Subspace::product", shape.columns * width_),
          v_host_(Kokkos::create_mirror_view(v_)),
          product_host_(Kokkos::create_mirror_view(product_)) {}

    Vectors multiply(const Vectors& vectors) {
        for (std::uint64_t j = 0; j < kept_; ++j) {
            for (std::uint64_t c = 0; c < shape_.columns; ++c) {
                v_host_(detail::panel_index<float>(c, j, shape_.columns)) =
                    static_cast<float>(factor_ *
                                       vectors[j * shape_.columns + c]);
            }
        }
        Kokkos::deep_copy(execution_, v_, v_host_);
        project();
        rescale();
        project_back();
        Kokkos::deep_copy(execution_, product_host_, product_);
        execution_.fence();
        Vectors product(vectors.size());
        for (std::uint64_t j = 0; j < kept_; ++j) {
            for (std::uint64_t c = 0; c < shape_.columns; ++c) {
                product[j * shape_.columns + c] = product_host_(
                    detail::panel_index<float>(c, j, shape_.columns));
            }
        }
        return product;
    }

private:
    using Memory = typename Execution::memory_space;
    using View = Kokkos::View<float*, Memory>;
    using Range =
        Kokkos::RangePolicy<Execution, Kokkos::IndexType<std::uint64_t>>;
    // HostMirror has another name in Kokkos 5.
    using HostView =
        decltype(Kokkos::create_mirror_view(std::declval<const View&>()));

    Execution execution_;
    const float* x_;
    MatrixShape shape_;
    std::uint64_t kept_;
    std::uint64_t width_;
    double factor_;
    View v_;          // (columns, kept), in panels
    View projected_;  // (rows, kept), in panels
    View product_;    // (columns, kept), in panels
    HostView v_host_;
    HostView product_host_;

    //! X v is about 1 with it, or as near as v stays f32.
    double find_factor() const {
        const LargestExponent kernel{x_, shape_.size()};
        int exponent = 0;
        Kokkos::parallel_reduce(
            "FusionLLM::Subspace::find_factor",
            Range(execution_,
                  0,
                  (kernel.size + kernel.at_once - 1) / kernel.at_once),
            kernel,
            Kokkos::Max<int>(exponent));
        return std::ldexp(1.0, std::clamp(127 - exponent, -100, 100));
    }

    void project() {
        const detail::ProductKernel<Execution> kernel{
            {.a = x_,
             .a_row = shape_.columns,
             .a_inner = 1,
             .b = v_.data(),
             .b_panel = shape_.columns * detail::panel_columns<float>,
             .out = projected_.data(),
             .out_row = detail::panel_columns<float>,
             .out_column = 1,
             .out_panel = shape_.rows * detail::panel_columns<float>,
             .M = shape_.rows,
             .N = width_,
             .K = shape_.columns,
             .add_to = detail::AddTo::zero}};
        Kokkos::parallel_for("FusionLLM::Subspace::project",
                             detail::items_of(execution_, kernel),
                             kernel);
    }

    //! X^T X v, too, would be beyond f32 where X is near its ends.
    void rescale() {
        if (factor_ > 0x1p-60 && factor_ < 0x1p60) {
            return;
        }
        Kokkos::parallel_for(
            "FusionLLM::Subspace::rescale",
            Range(execution_, 0, projected_.size()),
            Scale{projected_.data(), static_cast<float>(factor_)});
    }

    //! Some rows at a time, which stay in the cache for all columns, and whose
    //! short sums lose less.
    void project_back() {
        constexpr std::uint64_t panel = 256;
        for (std::uint64_t r = 0; r < shape_.rows; r += panel) {
            const detail::ProductKernel<Execution> kernel{
                {.a = x_ + r * shape_.columns,
                 .a_row = 1,
                 .a_inner = shape_.columns,
                 .b = projected_.data() + r * detail::panel_columns<float>,
                 .b_panel = shape_.rows * detail::panel_columns<float>,
                 .out = product_.data(),
                 .out_row = detail::panel_columns<float>,
                 .out_column = 1,
                 .out_panel = shape_.columns * detail::panel_columns<float>,
                 .M = shape_.columns,
                 .N = width_,
                 .K = std::min(panel, shape_.rows - r),
                 .add_to = r == 0 ? detail::AddTo::zero : detail::AddTo::out}};
            Kokkos::parallel_for("FusionLLM::Subspace::project_back",
                                 detail::items_of(execution_, kernel),
                                 kernel);
        }
    }
};

}  // namespace

BasisBits find_basis(std::span<const float> x,
                     const MatrixShape& shape,
                     std::uint64_t kept,
                     const BasisBits& previous,
                     WholeSpace whole,
                     MemorySpace space) {
    FUSIONLLM_EXPECTS(kept > 0 && kept <= shape.columns);
    FUSIONLLM_EXPECTS(x.size() == shape.size());
    if (kept == shape.columns && whole == WholeSpace::unit_vectors) {
        return make_unit_vectors(shape.columns, kept);
    }
    return detail::with_execution(space, [&](const auto& execution) {
        const bool is_choosing = kept + more_vectors <= most_to_choose_from;
        const std::uint64_t num_vectors =
            std::min(shape.columns, is_choosing ? kept + more_vectors : kept);
        Gram gram(execution, x, shape, num_vectors);
        // Random ones, or a basis: independent enough for the first product.
        Vectors vectors =
            make_start(previous, shape.columns, kept, num_vectors);
        const int iterations = previous.empty() ? cold_iterations
                               : is_choosing    ? warm_iterations
                                                : warm_iterations_of_many;
        for (int i = 0; i < iterations; ++i) {
            Vectors product = gram.multiply(vectors);
            if (!std::ranges::all_of(
                    product, [](double v) { return std::isfinite(v); })) {
                return previous.empty() ? make_unit_vectors(shape.columns, kept)
                                        : previous;
            }
            const bool is_last = i + 1 == iterations;
            vectors = is_last && is_choosing
                          ? choose(vectors, product, shape.columns)
                          : std::move(product);
            detail::orthonormalise(vectors, num_vectors);
        }
        return round_to_f16(vectors, shape.columns, kept);
    });
}

std::vector<std::uint8_t> read_bits(const BasisBits& basis,
                                    std::uint64_t kept) {
    std::vector<std::uint8_t> bits(kept);
    for (std::uint64_t j = 0; j < kept; ++j) {
        const float number =
            detail::float_of_f16(basis[basis.size() - kept + j]);
        const bool is_small = number >= 0 && number <= 8;
        const auto whole = static_cast<std::uint8_t>(is_small ? number : 0);
        bits[j] = is_small && whole == number ? whole : 255;
    }
    return bits;
}

}  // namespace fusionllm
