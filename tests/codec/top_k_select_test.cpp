#include "fusionllm/codec/top_k_select.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

#include "kokkos_environment.hpp"

namespace fusionllm::test {
namespace {

using Indices = std::vector<std::uint32_t>;
using Guess = TopKSelector::Guess;

constexpr std::uint32_t all_hints[] = {
    0, 1, 0x00800000, 0x3f800000, 0x40000000, 0x7f800000, 0x7fffffff, ~0u};

//! Sort all, stably; the indices of the first few.
Indices select_by_sort(std::span<const float> numbers, std::uint64_t kept) {
    const auto key = [&](std::uint32_t i) {
        return std::bit_cast<std::uint32_t>(std::abs(numbers[i]));
    };
    Indices order(numbers.size());
    std::iota(order.begin(), order.end(), 0u);
    std::ranges::stable_sort(order,
                             [&](auto a, auto b) { return key(a) > key(b); });
    order.resize(kept);
    std::ranges::sort(order);
    return order;
}

Indices select_rows_by_sort(std::span<const float> numbers,
                            const MatrixShape& shape,
                            std::uint64_t kept) {
    Indices all;
    for (std::uint64_t row = 0; row < shape.rows; ++row) {
        const std::uint64_t begin = row * shape.columns;
        for (const std::uint32_t i : select_by_sort(
                 numbers.subspan(begin, shape.columns), kept / shape.rows)) {
            all.push_back(static_cast<std::uint32_t>(begin) + i);
        }
    }
    return all;
}

//! About normal, with both signs.
std::vector<float> make_normal(std::uint64_t size, std::uint32_t seed) {
    std::vector<float> numbers(size);
    for (std::uint64_t i = 0; i < size; ++i) {
        const auto block = philox({{static_cast<std::uint32_t>(i), 0, 0, seed}},
                                  make_philox_key(7));
        double sum = -2;
        for (const std::uint32_t word : block.words) {
            sum += word * 0x1p-32;
        }
        numbers[i] = static_cast<float>(std::sqrt(3.0) * sum);
    }
    return numbers;
}

std::vector<float> take_from(const std::vector<float>& values,
                             std::uint64_t size) {
    std::vector<float> numbers(size);
    for (std::uint64_t i = 0; i < size; ++i) {
        const auto block = philox({{static_cast<std::uint32_t>(i), 0, 0, 0}},
                                  make_philox_key(9));
        numbers[i] = values[block.words[0] % values.size()];
    }
    return numbers;
}

//! What is hard to select from.
std::vector<std::vector<float>> make_inputs(std::uint64_t size) {
    using Limits = std::numeric_limits<float>;
    return {make_normal(size, 1),
            std::vector<float>(size, 0.0f),
            std::vector<float>(size, -1.5f),
            take_from({1.0f, -1.0f, 2.0f}, size),
            take_from({0.0f, -0.0f, Limits::denorm_min()}, size),
            take_from({0.0f, -0.0f, 0.0f, 0.0f, 3.0f}, size),
            take_from({Limits::infinity(),
                       -Limits::infinity(),
                       Limits::quiet_NaN(),
                       -Limits::quiet_NaN(),
                       Limits::max(),
                       Limits::lowest()},
                      size),
            take_from({Limits::min(),
                       Limits::denorm_min(),
                       -3 * Limits::denorm_min(),
                       std::bit_cast<float>(0x007fffffu)},
                      size)};
}

std::vector<std::uint64_t> make_counts(std::uint64_t size) {
    std::vector<std::uint64_t> counts{
        0, 1, size / 100, size / 3, size - size / 3, size - 1, size};
    std::erase_if(counts, [&](std::uint64_t kept) { return kept > size; });
    return counts;
}

Indices select(TopKSelector& selector,
               std::span<const float> numbers,
               std::uint64_t kept) {
    Indices indices(kept, ~0u);
    selector.select(numbers, indices);
    return indices;
}

TEST(TopKSelector, equals_a_stable_sort_on_odd_sizes_and_hard_numbers) {
    for (const std::uint64_t size :
         {0, 1, 2, 31, 32, 33, 63, 64, 65, 1000, 4097, 10007}) {
        const auto inputs = make_inputs(size);
        for (const std::uint64_t kept : make_counts(size)) {
            TopKSelector carrying(
                {1, size}, Selection::tensor, kept, MemorySpace::host);
            for (std::size_t i = 0; i < inputs.size(); ++i) {
                TopKSelector fresh(
                    {1, size}, Selection::tensor, kept, MemorySpace::host);
                const Indices expected = select_by_sort(inputs[i], kept);

                EXPECT_EQ(select(fresh, inputs[i], kept), expected)
                    << kept << " of " << size << ", input " << i;
                EXPECT_EQ(select(carrying, inputs[i], kept), expected)
                    << kept << " of " << size << ", carried to input " << i;
            }
        }
    }
}

TEST(TopKSelector, needs_no_hint_to_be_right) {
    constexpr std::uint64_t size = 20011;
    const auto inputs = make_inputs(size);
    for (const std::uint64_t kept : {1, 66, 200, 2001, 13000}) {
        TopKSelector selector(
            {1, size}, Selection::tensor, kept, MemorySpace::host);
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            const Indices expected = select_by_sort(inputs[i], kept);
            for (const std::uint32_t hint : all_hints) {
                selector.set_hint(hint);

                EXPECT_EQ(select(selector, inputs[i], kept), expected)
                    << kept << " kept, input " << i << ", hint " << hint;
            }
        }
    }
}

TEST(TopKSelector, selects_equally_many_of_every_row) {
    for (const MatrixShape shape : {MatrixShape{1, 65},
                                    MatrixShape{7, 1},
                                    MatrixShape{5, 64},
                                    MatrixShape{33, 97},
                                    MatrixShape{3, 9001}}) {
        const auto inputs = make_inputs(shape.size());
        for (const std::uint64_t of_row : make_counts(shape.columns)) {
            const std::uint64_t kept = of_row * shape.rows;
            TopKSelector selector(
                shape, Selection::row, kept, MemorySpace::host);
            for (std::size_t i = 0; i < inputs.size(); ++i) {
                const Indices expected =
                    select_rows_by_sort(inputs[i], shape, kept);

                EXPECT_EQ(select(selector, inputs[i], kept), expected)
                    << of_row << " of " << shape.columns << ", input " << i;
                selector.set_hint(all_hints[i]);
                EXPECT_EQ(select(selector, inputs[i], kept), expected)
                    << of_row << " of " << shape.columns << ", input " << i
                    << ", hint " << all_hints[i];
            }
        }
    }
}

TEST(TopKSelector, rows_may_differ_by_orders_of_magnitude) {
    const MatrixShape shape{40, 250};
    auto numbers = make_normal(shape.size(), 3);
    for (std::uint64_t i = 0; i < numbers.size(); ++i) {
        numbers[i] *= std::ldexp(
            1.0f, static_cast<int>(i / shape.columns * 37 % 100) - 50);
    }
    TopKSelector selector(shape, Selection::row, 400, MemorySpace::host);

    EXPECT_EQ(select(selector, numbers, 400),
              select_rows_by_sort(numbers, shape, 400));
}

TEST(TopKSelector, carries_its_threshold_to_similar_numbers) {
    constexpr std::uint64_t size = 100'003;
    constexpr std::uint64_t kept = 1000;
    TopKSelector selector(
        {1, size}, Selection::tensor, kept, MemorySpace::host);

    for (const std::uint32_t seed : {1, 2, 3}) {
        const auto numbers = make_normal(size, seed);

        EXPECT_EQ(select(selector, numbers, kept),
                  select_by_sort(numbers, kept));
        EXPECT_EQ(selector.last_guess(),
                  seed == 1 ? Guess::sampled : Guess::carried);
    }
}

TEST(TopKSelector, recovers_from_wrong_hints) {
    constexpr std::uint64_t size = 50'000;
    constexpr std::uint64_t kept = 500;
    const auto numbers = make_normal(size, 1);
    const Indices expected = select_by_sort(numbers, kept);
    TopKSelector selector(
        {1, size}, Selection::tensor, kept, MemorySpace::host);
    for (const std::uint32_t wrong : {0u, 0x7fffffffu}) {
        selector.set_hint(wrong);

        // Not to be trusted the next time; then it would have been right.
        for (const Guess guess :
             {Guess::wrong, Guess::sampled, Guess::carried}) {
            EXPECT_EQ(select(selector, numbers, kept), expected);
            EXPECT_EQ(selector.last_guess(), guess);
        }
    }
    selector.forget_hint();
    EXPECT_EQ(select(selector, numbers, kept), expected);
    EXPECT_EQ(selector.last_guess(), Guess::sampled);
}

TEST(TopKSelector, samples_where_thresholds_keep_changing) {
    constexpr std::uint64_t size = 50'000;
    constexpr std::uint64_t kept = 500;
    TopKSelector selector(
        {1, size}, Selection::tensor, kept, MemorySpace::host);
    auto numbers = make_normal(size, 1);
    select(selector, numbers, kept);
    for (int i = 0; i < 6; ++i) {
        const float factor = i % 2 == 0 ? 1.5f : 1 / 2.0f;
        for (float& x : numbers) {
            x *= factor;
        }

        EXPECT_EQ(select(selector, numbers, kept),
                  select_by_sort(numbers, kept));
        EXPECT_EQ(selector.last_guess(),
                  i == 0 ? Guess::wrong : Guess::sampled);
    }
}

TEST(TopKSelector, takes_the_first_of_very_many_equal_ones) {
    constexpr std::uint64_t size = 70'001;
    std::vector<float> numbers(size, -2.0f);
    numbers[60'000] = 3.0f;
    Indices expected(100);
    std::iota(expected.begin(), expected.end(), 0u);
    expected.back() = 60'000;
    TopKSelector selector({1, size}, Selection::tensor, 100, MemorySpace::host);

    EXPECT_EQ(select(selector, numbers, 100), expected);
    EXPECT_EQ(select(selector, numbers, 100), expected);
}

TEST(TopKSelector, kernels_of_devices_find_the_same) {
    for (const MatrixShape shape :
         {MatrixShape{1, 1}, MatrixShape{13, 77}, MatrixShape{67, 151}}) {
        const auto inputs = make_inputs(shape.size());
        for (const std::uint64_t of_row : make_counts(shape.columns)) {
            const std::uint64_t kept = of_row * shape.rows;
            for (std::size_t i = 0; i < inputs.size(); ++i) {
                Indices whole(kept, ~0u);
                Indices rows(kept, ~0u);

                detail::select_top_k_by_kernels(
                    shape, Selection::tensor, inputs[i], all_hints[i], whole);
                detail::select_top_k_by_kernels(
                    shape, Selection::row, inputs[i], all_hints[i], rows);

                EXPECT_EQ(whole, select_by_sort(inputs[i], kept))
                    << kept << " of " << shape.size() << ", input " << i;
                EXPECT_EQ(rows, select_rows_by_sort(inputs[i], shape, kept))
                    << of_row << " of " << shape.columns << ", input " << i;
            }
        }
    }
}

TEST(TopKSelector, kernels_of_devices_use_a_good_hint) {
    const MatrixShape shape{1, 30'000};
    const auto numbers = make_normal(shape.size(), 1);
    const Indices expected = select_by_sort(numbers, 300);
    const auto threshold = std::bit_cast<std::uint32_t>(2.5f);
    Indices indices(300);

    const Guess guess = detail::select_top_k_by_kernels(
        shape, Selection::tensor, numbers, threshold, indices);

    EXPECT_EQ(guess, Guess::carried);
    EXPECT_EQ(indices, expected);
}

TEST(TopKSelector, writes_only_its_indices) {
    constexpr std::uint64_t size = 9000;
    const auto numbers = make_normal(size, 1);
    Indices memory(120, ~0u);
    TopKSelector selector({1, size}, Selection::tensor, 90, MemorySpace::host);

    selector.select(numbers, std::span(memory).subspan(10, 90));

    EXPECT_EQ(std::ranges::count(memory, ~0u), 30);
    EXPECT_EQ(memory[9], ~0u);
    EXPECT_EQ(memory[100], ~0u);
}

TEST(TopKSelector, refuses_tensors_whose_indices_would_not_fit) {
    const MatrixShape large{1 << 16, 1 << 16};

    EXPECT_THROW(TopKSelector(large, Selection::tensor, 1, MemorySpace::host),
                 InputError);
}

}  // namespace
}  // namespace fusionllm::test
