#include "fusionllm/util/memory_use.hpp"

#include <cstddef>
#include <vector>

#include <gtest/gtest.h>

namespace fusionllm::test {
namespace {

TEST(MemoryUse, counts_what_was_written_and_given_back) {
    constexpr std::size_t size = std::size_t{64} << 20;
    const std::uint64_t before = peak_resident_bytes();

    std::size_t sum = 0;
    {
        const std::vector<char> block(size, 1);
        for (std::size_t i = 0; i < size; i += 4096) {
            sum += static_cast<std::size_t>(block[i]);
        }
    }
    const std::uint64_t after = peak_resident_bytes();

    EXPECT_EQ(sum, size / 4096);
    EXPECT_GT(before, 0u);
    EXPECT_GE(after, before + size * 9 / 10);
}

}  // namespace
}  // namespace fusionllm::test
