#include "fusionllm/util/hash.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace fusionllm::test {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

//! Bit by bit, as the polynomial says.
std::uint32_t crc32c_reference(std::span<const std::byte> bytes) {
    std::uint32_t crc = 0xFFFFFFFFu;
    for (const std::byte byte : bytes) {
        crc ^= static_cast<std::uint32_t>(byte);
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0x82F63B78u : 0u);
        }
    }
    return ~crc;
}

TEST(HashTest, crc32c_has_the_known_answers_of_rfc_3720) {
    const std::string zeros(32, '\0');
    const std::string ones(32, '\xFF');

    EXPECT_EQ(crc32c(bytes_of("123456789")), 0xE3069283u);
    EXPECT_EQ(crc32c(bytes_of(zeros)), 0x8A9136AAu);
    EXPECT_EQ(crc32c(bytes_of(ones)), 0x62A8AB43u);
    EXPECT_EQ(crc32c({}), 0u);
}

TEST(HashTest, crc32c_by_instruction_and_by_table_agree_at_every_length) {
    std::vector<std::byte> bytes(200);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<std::byte>(i * i + 37 * i);
    }

    for (std::size_t begin = 0; begin < 9; ++begin) {
        for (std::size_t size = 0; size + begin <= bytes.size(); ++size) {
            const auto part = std::span(bytes).subspan(begin, size);
            const std::uint32_t expected = crc32c_reference(part);
            ASSERT_EQ(crc32c(part), expected) << begin << ", " << size;
            ASSERT_EQ(detail::crc32c_by_table(part), expected)
                << begin << ", " << size;
        }
    }
}

TEST(HashTest, fnv_has_its_known_answers) {
    EXPECT_EQ(hash_text(""), 0xcbf29ce484222325ull);
    EXPECT_EQ(hash_text("a"), 0xaf63dc4c8601ec8cull);
    EXPECT_EQ(hash_text("foobar"), 0x85944171f73967e8ull);
}

TEST(HashTest, fnv_of_parts_in_sequence_is_fnv_of_the_whole) {
    const auto first = hash_bytes(bytes_of("foo"));

    EXPECT_EQ(hash_bytes(bytes_of("bar"), first), hash_text("foobar"));
}

}  // namespace
}  // namespace fusionllm::test
