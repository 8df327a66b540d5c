#include "fusionllm/util/buffer.hpp"

#include <cstdint>
#include <utility>

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

TEST(BufferTest, begins_on_a_cache_line_whatever_its_size) {
    for (const std::size_t size : {1, 63, 64, 65, 100000}) {
        const Buffer buffer(size);

        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0u);
        EXPECT_EQ(buffer.span().size(), size);
    }
}

TEST(BufferTest, shrinking_keeps_the_bytes_in_place) {
    Buffer buffer(8);
    buffer.data()[2] = std::byte{7};
    const std::byte* const before = buffer.data();

    buffer.shrink(3);

    EXPECT_EQ(buffer.size(), 3u);
    EXPECT_EQ(buffer.data(), before);
    EXPECT_EQ(buffer.span().back(), std::byte{7});
}

TEST(BufferTest, moving_hands_over_the_bytes) {
    Buffer first(4);
    const std::byte* const bytes = first.data();

    const Buffer second = std::move(first);

    EXPECT_EQ(second.data(), bytes);
    EXPECT_EQ(second.size(), 4u);
    EXPECT_EQ(first.data(), nullptr);
    EXPECT_EQ(first.size(), 0u);
}

TEST(BufferTest, an_empty_one_is_an_empty_span) {
    EXPECT_TRUE(Buffer(0).span().empty());
    EXPECT_TRUE(Buffer().span().empty());
}

#ifndef NDEBUG
TEST(BufferTest, growing_by_shrink_is_a_bug) {
    Buffer buffer(4);

    EXPECT_THROW(buffer.shrink(5), ContractError);
}
#endif

}  // namespace
}  // namespace fusionllm::test
