#include "fusionllm/codec/dropout_mask.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

#include "kokkos_environment.hpp"

namespace fusionllm::test {
namespace {

//! One element at a time, straight from the header's sentence.
std::vector<float> make_reference(std::size_t size,
                                  std::uint64_t key,
                                  double p) {
    std::vector<float> mask;
    for (std::size_t i = 0; i < size; ++i) {
        const PhiloxBlock block =
            philox({{static_cast<std::uint32_t>(i / 4), 0, 0, 0}},
                   make_philox_key(key));
        const double threshold = std::floor(p * 4294967296.0);
        mask.push_back(block.words[i % 4] >= threshold
                           ? static_cast<float>(1 / (1 - p))
                           : 0.0f);
    }
    return mask;
}

std::vector<float> fill(std::size_t size, std::uint64_t key, double p) {
    std::vector<float> mask(size, -1.0f);
    fill_dropout_mask(mask, key, p, MemorySpace::host);
    return mask;
}

TEST(DropoutMask, equals_a_plain_loop_on_odd_sizes) {
    for (const std::size_t size : {0, 1, 2, 3, 4, 5, 7, 8, 63, 1025, 4099}) {
        for (const double p : {0.0, 0.1, 0.5, 0.999}) {
            EXPECT_EQ(fill(size, 0x0123456789abcdef, p),
                      make_reference(size, 0x0123456789abcdef, p))
                << size << " elements, p = " << p;
        }
    }
}

TEST(DropoutMask, writes_only_its_elements) {
    std::vector<float> memory(16, -1.0f);

    fill_dropout_mask(
        std::span(memory).subspan(3, 6), 1, 0.5, MemorySpace::host);

    for (const std::size_t i : {0, 1, 2, 9, 10, 15}) {
        EXPECT_EQ(memory[i], -1.0f) << i;
    }
    EXPECT_EQ(std::ranges::count(memory, -1.0f), 10);
}

TEST(DropoutMask, drops_at_its_rate_and_keeps_the_mean) {
    constexpr std::size_t size = 1'000'000;
    for (const double p : {0.1, 0.5, 0.9}) {
        const auto mask = fill(size, 42, p);

        const auto num_dropped =
            static_cast<double>(std::ranges::count(mask, 0.0f));
        const double error = 5 * std::sqrt(p * (1 - p) / size);
        EXPECT_NEAR(num_dropped / size, p, error);
        EXPECT_EQ(static_cast<double>(std::ranges::count(
                      mask, static_cast<float>(1 / (1 - p)))),
                  size - num_dropped);
    }
}

TEST(DropoutMask, drops_nothing_at_rate_zero) {
    EXPECT_EQ(fill(101, 3, 0), std::vector<float>(101, 1.0f));
}

TEST(DropoutMask, depends_on_both_halves_of_the_key) {
    const auto mask = fill(256, 1, 0.5);

    EXPECT_NE(fill(256, 2, 0.5), mask);
    EXPECT_NE(fill(256, 1 + (1ULL << 32), 0.5), mask);
}

TEST(DropoutMask, says_so_when_kokkos_cannot_reach_the_memory) {
    if (kokkos_has_cuda()) {
        GTEST_SKIP() << "this Kokkos reaches CUDA memory";
    }
    std::vector<float> mask(4);

    EXPECT_THROW(fill_dropout_mask(mask, 1, 0.5, MemorySpace::cuda), Error);
}

TEST(KokkosVersion, names_number_and_execution_space) {
    const std::string version = kokkos_version();

    EXPECT_NE(version.find('.'), std::string::npos) << version;
    EXPECT_NE(version.find('('), std::string::npos) << version;
}

}  // namespace
}  // namespace fusionllm::test
