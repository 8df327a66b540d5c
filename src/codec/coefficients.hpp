#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <Kokkos_Core.hpp>

namespace fusionllm::detail {

template <class Execution>
void fill_with_zeros(const Execution& execution, std::span<std::byte> bytes) {
    const Kokkos::View<unsigned char*,
                       typename Execution::memory_space,
                       Kokkos::MemoryTraits<Kokkos::Unmanaged>>
        view(reinterpret_cast<unsigned char*>(bytes.data()), bytes.size());
    Kokkos::deep_copy(execution, view, static_cast<unsigned char>(0));
    execution.fence();
}

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
