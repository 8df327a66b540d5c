#include "subspace_basis.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fusionllm/util/random.hpp"

#include "execution.hpp"
#include "matrix_product.hpp"
#include "orthonormal.hpp"
#include "value_bits.hpp"

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
    std::vector<double> small(size * size);
    for (std::uint64_t i = 0; i < size; ++i) {
        for (std::uint64_t j = 0; j < size; ++j) {
            double sum = 0;
            for (std::uint64_t c = 0; c < columns; ++c) {
                sum += vectors[i * columns + c] * product[j * columns + c];
            }
            small[i * size + j] += sum / 2;
            small[j * size + i] += sum / 2;
        }
    }
    const auto turned = detail::find_eigenvectors(std::move(small), size);
    Vectors chosen(vectors.size());
    for (std::uint64_t i = 0; i < size; ++i) {
        for (std::uint64_t j = 0; j < size; ++j) {
            for (std::uint64_t c = 0; c < columns; ++c) {
                chosen[i * columns + c] +=
                    turned[i * size + j] * product[j * columns + c];
            }
        }
    }
    return chosen;
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

//! X^T X, for products with vectors.
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
          width_(detail::whole_lanes(kept)),
          v_("FusionLLM::Subspace::v", shape.columns * width_),
          projected_("FusionLLM::Subspace::projected", shape.rows * width_),
          product_("FusionLLM::Subspace::product", shape.columns * kept),
          v_host_(Kokkos::create_mirror_view(v_)),
          product_host_(Kokkos::create_mirror_view(product_)) {}

    Vectors multiply(const Vectors& vectors) {
        for (std::uint64_t j = 0; j < kept_; ++j) {
            for (std::uint64_t c = 0; c < shape_.columns; ++c) {
                // As f32, so that products with it are exact.
                v_host_(c * width_ + j) =
                    static_cast<float>(vectors[j * shape_.columns + c]);
            }
        }
        Kokkos::deep_copy(execution_, v_, v_host_);
        project();
        project_back();
        Kokkos::deep_copy(execution_, product_host_, product_);
        execution_.fence();
        return Vectors(product_host_.data(),
                       product_host_.data() + product_host_.size());
    }

private:
    using Memory = typename Execution::memory_space;
    template <class Number>
    using View = Kokkos::View<Number*, Memory>;
    // HostMirror has another name in Kokkos 5.
    template <class Number>
    using HostView = decltype(Kokkos::create_mirror_view(
        std::declval<const View<Number>&>()));
    using Policy =
        Kokkos::RangePolicy<Execution, Kokkos::IndexType<std::uint64_t>>;

    Execution execution_;
    const float* x_;
    MatrixShape shape_;
    std::uint64_t kept_;
    std::uint64_t width_;
    View<double> v_;         // (columns, width)
    View<float> projected_;  // (rows, width)
    View<double> product_;   // (kept, columns)
    HostView<double> v_host_;
    HostView<double> product_host_;

    void project() {
        const detail::Product<2, detail::AddTo::zero, double, float> product{
            x_,
            shape_.columns,
            1,
            v_.data(),
            projected_.data(),
            width_,
            1,
            shape_.rows,
            kept_,
            shape_.columns};
        Kokkos::parallel_for("FusionLLM::Subspace::project",
                             Policy(execution_, 0, product.num_items()),
                             product);
    }

    //! Some rows at a time, which stay in the cache for all columns.
    void project_back() {
        constexpr std::uint64_t panel = 128;
        Kokkos::deep_copy(execution_, product_, 0.0);
        for (std::uint64_t r = 0; r < shape_.rows; r += panel) {
            const detail::Product<8, detail::AddTo::out, float, double> product{
                x_ + r * shape_.columns,
                1,
                shape_.columns,
                projected_.data() + r * width_,
                product_.data(),
                1,
                shape_.columns,
                shape_.columns,
                kept_,
                std::min(panel, shape_.rows - r)};
            Kokkos::parallel_for("FusionLLM::Subspace::project_back",
                                 Policy(execution_, 0, product.num_items()),
                                 product);
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
