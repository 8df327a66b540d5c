#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include <Kokkos_Core.hpp>

#include "value_bits.hpp"

// Powers of two that rows of coefficients, (kept, rows), are divided by before
// they are rounded, and multiplied by after: a byte a row, 128 + the exponent,
// or 0 for a row of zeros, which stays one though what is rounded is dithered.
namespace fusionllm::detail {

//! Bytes of a message where the kernels run.
template <class Byte, class Memory>
using BytesThere =
    Kokkos::View<Byte*, Memory, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;

template <class Execution>
void fill_with_zeros(const Execution& execution, std::span<std::byte> bytes) {
    const BytesThere<unsigned char, typename Execution::memory_space> view(
        reinterpret_cast<unsigned char*>(bytes.data()), bytes.size());
    Kokkos::deep_copy(execution, view, static_cast<unsigned char>(0));
    execution.fence();
}

//! 2^n as f32, for n from -126 to 127.
KOKKOS_INLINE_FUNCTION float power_of_two(int n) {
    return float_of(static_cast<std::uint32_t>(n + 127) << 23);
}

//! A work item's rows: neighbours in memory, which processors take together.
template <class Execution>
inline constexpr int rows_at_once =
    std::is_same_v<typename Execution::memory_space, Kokkos::HostSpace> ? 64
                                                                        : 1;

//! Calls visit(i, coefficient) for row first + i, one vector after the other.
template <int most, class Visit>
KOKKOS_INLINE_FUNCTION void for_each_coefficient(float* coefficients,
                                                 std::uint64_t rows,
                                                 std::uint64_t kept,
                                                 std::uint64_t first,
                                                 const Visit& visit) {
    const std::uint64_t left = rows - first;
    for (std::uint64_t j = 0; j < kept; ++j) {
        float* const from = coefficients + j * rows + first;
        if (left >= most) {
            for (int i = 0; i < most; ++i) {
                visit(i, from[i]);
            }
        } else {
            for (int i = 0; i < static_cast<int>(left); ++i) {
                visit(i, from[i]);
            }
        }
    }
}

inline constexpr unsigned char row_of_zeros = 0;

//! A work item divides rows so that the largest number of each is below 1 (but
//! for the largest numbers there are); what is not finite stays.
template <int most>
struct DivideRows {
    float* coefficients;
    unsigned char* exponents;
    std::uint64_t rows;
    std::uint64_t kept;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t item) const {
        const std::uint64_t first = item * most;
        // Signed comparisons are what baseline x86-64 has.
        std::int32_t largest[most] = {};
        for_each_coefficient<most>(
            coefficients, rows, kept, first, [&](int i, float& number) {
                const auto size =
                    static_cast<std::int32_t>(bits_of(number) & ~sign_bit);
                largest[i] = size > largest[i] ? size : largest[i];
            });
        float factors[most];
        for (int i = 0; i < most; ++i) {
            const int exponent = exponent_of(largest[i]);
            factors[i] = power_of_two(-exponent);
            if (first + static_cast<std::uint64_t>(i) < rows) {
                exponents[first + i] =
                    largest[i] == 0
                        ? row_of_zeros
                        : static_cast<unsigned char>(exponent + 128);
            }
        }
        for_each_coefficient<most>(
            coefficients, rows, kept, first, [&](int i, float& number) {
                number *= factors[i];
            });
    }

    KOKKOS_INLINE_FUNCTION static int exponent_of(std::int32_t largest) {
        if (largest == 0 ||
            static_cast<std::uint32_t>(largest) >= infinity_bits) {
            return 0;
        }
        const int exponent = (largest >> 23) - 126;
        return exponent > 126 ? 126 : exponent;
    }
};

//! The inverse; a byte that no sender writes counts as the nearest one.
template <int most>
struct MultiplyRows {
    float* coefficients;
    const unsigned char* exponents;
    std::uint64_t rows;
    std::uint64_t kept;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t item) const {
        const std::uint64_t first = item * most;
        float factors[most] = {};
        for (int i = 0; i < most; ++i) {
            if (first + static_cast<std::uint64_t>(i) < rows) {
                const unsigned char byte = exponents[first + i];
                const int exponent = static_cast<int>(byte) - 128;
                factors[i] =
                    byte == row_of_zeros
                        ? 0.0f
                        : power_of_two(exponent < -126 ? -126 : exponent);
            }
        }
        for_each_coefficient<most>(
            coefficients, rows, kept, first, [&](int i, float& number) {
                number *= factors[i];
            });
    }
};

//! A work item adds the squares of a vector's coefficients, in their order.
struct SumSquares {
    const float* coefficients;
    double* sums;
    std::uint64_t rows;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t j) const {
        double sum = 0;
        for (std::uint64_t r = 0; r < rows; ++r) {
            const double c = coefficients[j * rows + r];
            sum += c * c;
        }
        sums[j] = sum;
    }
};

//! Of the coefficients of each vector.
template <class Execution, class Coefficients>
std::vector<double> sum_squares(const Execution& execution,
                                const Coefficients& coefficients,
                                std::uint64_t rows,
                                std::uint64_t kept) {
    const Kokkos::View<double*, typename Execution::memory_space> sums(
        "FusionLLM::Subspace::squares", kept);
    Kokkos::parallel_for(
        "FusionLLM::Subspace::sum_squares",
        Kokkos::RangePolicy<Execution, Kokkos::IndexType<std::uint64_t>>(
            execution, 0, kept),
        SumSquares{coefficients.data(), sums.data(), rows});
    execution.fence();
    const auto host =
        Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), sums);
    return {host.data(), host.data() + kept};
}

}  // namespace fusionllm::detail
