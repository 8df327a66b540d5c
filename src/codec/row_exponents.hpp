#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <Kokkos_Core.hpp>

#include "value_bits.hpp"

// Powers of two that rows of coefficients, (kept, rows), are divided by before
// they are rounded, and multiplied by after: a byte a row, 128 + the exponent.
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

//! A work item divides a row so that its largest number is below 1 (but for the
//! largest numbers there are); zeros and what is not finite stay.
struct DivideRow {
    float* coefficients;
    unsigned char* exponents;
    std::uint64_t rows;
    std::uint64_t kept;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t r) const {
        std::uint32_t largest = 0;
        for (std::uint64_t j = 0; j < kept; ++j) {
            const std::uint32_t size =
                bits_of(coefficients[j * rows + r]) & ~sign_bit;
            largest = size > largest ? size : largest;
        }
        int exponent = 0;
        if (largest != 0 && largest < infinity_bits) {
            exponent = static_cast<int>(largest >> 23) - 126;
            exponent = exponent > 126 ? 126 : exponent;
        }
        exponents[r] = static_cast<unsigned char>(exponent + 128);
        const float factor = power_of_two(-exponent);
        for (std::uint64_t j = 0; j < kept; ++j) {
            coefficients[j * rows + r] *= factor;
        }
    }
};

//! The inverse; a byte that no sender writes counts as the nearest one.
struct MultiplyRow {
    float* coefficients;
    const unsigned char* exponents;
    std::uint64_t rows;
    std::uint64_t kept;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t r) const {
        const int exponent = static_cast<int>(exponents[r]) - 128;
        const float factor = power_of_two(exponent < -126 ? -126 : exponent);
        for (std::uint64_t j = 0; j < kept; ++j) {
            coefficients[j * rows + r] *= factor;
        }
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

}  // namespace fusionllm::detail
