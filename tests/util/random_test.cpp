#include "fusionllm/util/random.hpp"

#include <bit>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "fusionllm/util/hash.hpp"

namespace fusionllm::test {
namespace {

void expect_block(PhiloxBlock block, PhiloxBlock expected) {
    for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(block.words[i], expected.words[i]) << "word " << i;
    }
}

// The answers are those of Random123, kat_vectors.
TEST(RandomTest, philox_answers_zeros_as_random123_does) {
    const auto block = philox({{0, 0, 0, 0}}, {{0, 0}});

    expect_block(block, {{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}});
}

TEST(RandomTest, philox_answers_ones_as_random123_does) {
    constexpr std::uint32_t ones = 0xFFFFFFFFu;

    const auto block = philox({{ones, ones, ones, ones}}, {{ones, ones}});

    expect_block(block, {{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}});
}

TEST(RandomTest, philox_answers_the_digits_of_pi_as_random123_does) {
    const auto block =
        philox({{0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}},
               {{0xa4093822u, 0x299f31d0u}});

    expect_block(block, {{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}});
}

TEST(RandomTest, philox_key_has_the_low_word_first) {
    const PhiloxKey key = make_philox_key(0x0123456789abcdefull);

    EXPECT_EQ(key.words[0], 0x89abcdefu);
    EXPECT_EQ(key.words[1], 0x01234567u);
}

TEST(RandomTest, derived_keys_are_all_different) {
    std::set<std::uint64_t> keys;
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        for (std::uint64_t number = 0; number < 50; ++number) {
            keys.insert(derive_key(seed, number));
            keys.insert(derive_key(seed, std::to_string(number)));
        }
    }

    EXPECT_EQ(keys.size(), 2u * 50u * 50u);
}

TEST(RandomTest, a_key_by_number_is_not_the_key_by_the_name_of_that_hash) {
    EXPECT_NE(derive_key(1, "wte"), derive_key(1, hash_text("wte")));
}

TEST(RandomTest, one_bit_of_the_seed_changes_about_half_of_the_key) {
    for (int bit = 0; bit < 64; ++bit) {
        const std::uint64_t seed = std::uint64_t{1} << bit;

        const int by_name =
            std::popcount(derive_key(0, "wte") ^ derive_key(seed, "wte"));
        const int by_number = std::popcount(derive_key(0, std::uint64_t{5}) ^
                                            derive_key(seed, std::uint64_t{5}));

        EXPECT_NEAR(by_name, 32, 20) << "bit " << bit;
        EXPECT_NEAR(by_number, 32, 20) << "bit " << bit;
    }
}

// Runs are resumed, and ranks of other builds join, by these numbers.
TEST(RandomTest, derived_keys_never_change) {
    EXPECT_EQ(derive_key(0, "wte.weight"), 0xcc5a8f133fbbf72eull);
    EXPECT_EQ(derive_key(1, std::uint64_t{2}), 0x1805778b3708e4caull);
}

}  // namespace
}  // namespace fusionllm::test
