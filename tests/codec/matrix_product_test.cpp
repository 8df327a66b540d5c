#include "matrix_product.hpp"

#include <cmath>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/util/random.hpp"

#include "host_product.hpp"
#include "kokkos_environment.hpp"
#include "product_kernel.hpp"
#include "vector_set.hpp"

namespace fusionllm::test {
namespace {

using detail::AddTo;
using detail::Isa;
using detail::MatrixProduct;

template <class Number>
std::vector<Number> draw(std::uint64_t size, std::uint64_t seed) {
    std::vector<Number> numbers(size);
    for (std::uint64_t i = 0; i < size; ++i) {
        const auto block = philox({{static_cast<std::uint32_t>(i), 0, 0, 0}},
                                  make_philox_key(seed));
        numbers[i] = static_cast<Number>(block.words[0] * 0x1p-31 - 1);
    }
    return numbers;
}

enum class Layout { rows, transposed };

struct Case {
    std::uint64_t M;
    std::uint64_t N;
    std::uint64_t K;
    Layout a;
    Layout out;
    AddTo add_to;
};

std::string text_of(const Case& c) {
    return std::to_string(c.M) + " x " + std::to_string(c.N) + " of " +
           std::to_string(c.K);
}

//! Operands of a product, and what naive loops make of them.
template <class Number>
class Operands {
public:
    explicit Operands(const Case& of)
        : case_(of),
          a_(draw<Number>(of.M * of.K, 1)),
          b_(of.K * detail::whole_panels<Number>(of.N)),
          before_(draw<Number>(of.M * of.N, 3)) {
        const std::vector<Number> b = draw<Number>(of.K * of.N, 2);
        for (std::uint64_t k = 0; k < of.K; ++k) {
            for (std::uint64_t n = 0; n < of.N; ++n) {
                b_[detail::panel_index<Number>(k, n, of.K)] = b[k * of.N + n];
            }
        }
    }

    //! With one accumulator an element, in the order of k.
    std::vector<Number> naive() const {
        const bool is_by_rows = case_.a == Layout::rows;
        std::vector<Number> out = before_;
        for (std::uint64_t m = 0; m < case_.M; ++m) {
            for (std::uint64_t n = 0; n < case_.N; ++n) {
                Number sum = 0;
                for (std::uint64_t k = 0; k < case_.K; ++k) {
                    sum = std::fma(
                        a_[is_by_rows ? m * case_.K + k : k * case_.M + m],
                        b_[detail::panel_index<Number>(k, n, case_.K)],
                        sum);
                }
                Number& to = out[case_.out == Layout::rows ? m * case_.N + n
                                                           : n * case_.M + m];
                to = case_.add_to == AddTo::out ? to + sum : sum;
            }
        }
        return out;
    }

    template <class Multiply>
    std::vector<Number> multiply(const Multiply& multiply) const {
        constexpr std::uint64_t width = detail::panel_columns<Number>;
        const bool is_by_rows = case_.out == Layout::rows;
        std::vector<Number> out = before_;
        multiply(MatrixProduct<Number>{
            .a = a_.data(),
            .a_row = case_.a == Layout::rows ? case_.K : 1,
            .a_inner = case_.a == Layout::rows ? 1 : case_.M,
            .b = b_.data(),
            .b_panel = case_.K * width,
            .out = out.data(),
            .out_row = is_by_rows ? case_.N : 1,
            .out_column = is_by_rows ? 1 : case_.M,
            .out_panel = is_by_rows ? width : case_.M * width,
            .M = case_.M,
            .N = case_.N,
            .K = case_.K,
            .add_to = case_.add_to});
        return out;
    }

private:
    Case case_;
    std::vector<Number> a_;
    std::vector<Number> b_;
    std::vector<Number> before_;
};

//! Sizes on both sides of tiles, panels, groups and blocks.
std::vector<Case> make_cases() {
    const std::tuple<std::uint64_t, std::uint64_t, std::uint64_t> sizes[] = {
        {1, 1, 1},
        {12, 32, 16},
        {13, 33, 17},
        {5, 7, 3},
        {11, 15, 40},
        {47, 64, 15},
        {97, 131, 129},
        {50, 257, 31},
        {3, 20, 1500},
        {7, 3, 0}};
    std::vector<Case> cases;
    for (const auto& [M, N, K] : sizes) {
        for (const Layout a : {Layout::rows, Layout::transposed}) {
            for (const Layout out : {Layout::rows, Layout::transposed}) {
                cases.push_back({M, N, K, a, out, AddTo::zero});
                if (K <= detail::most_terms_added) {
                    cases.push_back({M, N, K, a, out, AddTo::out});
                }
            }
        }
    }
    return cases;
}

template <class Number>
class MatrixProductOf : public testing::Test {};
using NumberTypes = testing::Types<float, double>;
TYPED_TEST_SUITE(MatrixProductOf, NumberTypes);

TYPED_TEST(MatrixProductOf, is_that_of_naive_loops_on_any_processor) {
    EXPECT_TRUE(detail::has(Isa::plain));
    EXPECT_TRUE(detail::has(detail::best_isa()));
    for (const Case& one : make_cases()) {
        const Operands<TypeParam> operands(one);
        const std::vector<TypeParam> expected = operands.naive();
        for (const Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
            if (!detail::has(isa)) {
                continue;
            }

            const auto found =
                operands.multiply([&](const MatrixProduct<TypeParam>& product) {
                    for (std::uint64_t i = num_blocks(product); i > 0; --i) {
                        multiply_block(product, isa, i - 1);
                    }
                });

            EXPECT_EQ(found, expected)
                << text_of(one) << ", " << static_cast<int>(isa);
        }
    }
}

TEST(MatrixProduct, is_that_of_naive_loops_in_device_kernels) {
    for (const Case& one : make_cases()) {
        const Operands<float> operands(one);

        const auto found =
            operands.multiply([](const MatrixProduct<float>& product) {
                const detail::DeviceProduct kernel{product};
                Kokkos::parallel_for(
                    "FusionLLM::Test::multiply",
                    detail::items_of(Kokkos::DefaultHostExecutionSpace(),
                                     kernel),
                    kernel);
            });

        EXPECT_EQ(found, operands.naive()) << text_of(one);
    }
}

TEST(VectorSet, multiplies_as_naive_loops_do) {
    constexpr std::uint64_t length = 37;
    constexpr std::uint64_t size = 11;
    constexpr std::uint64_t others = 5;
    const auto vectors = draw<double>(size * length, 1);
    const auto other = draw<double>(others * length, 2);
    detail::VectorSet set(13, length);
    set.add(std::span(vectors).first(4 * length));
    set.add(std::span(vectors).subspan(4 * length));

    const auto dots = set.dots(other);
    const auto sums = set.combine(dots);

    std::vector<double> expected(others * size);
    std::vector<double> expected_sums(others * length);
    for (std::uint64_t m = 0; m < others; ++m) {
        for (std::uint64_t j = 0; j < size; ++j) {
            double& dot = expected[m * size + j];
            for (std::uint64_t i = 0; i < length; ++i) {
                dot = std::fma(
                    other[m * length + i], vectors[j * length + i], dot);
            }
            for (std::uint64_t i = 0; i < length; ++i) {
                double& sum = expected_sums[m * length + i];
                sum = std::fma(dot, vectors[j * length + i], sum);
            }
        }
    }
    EXPECT_EQ(dots, expected);
    EXPECT_EQ(sums, expected_sums);
}

}  // namespace
}  // namespace fusionllm::test
