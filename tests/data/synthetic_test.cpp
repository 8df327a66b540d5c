#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "fusionllm/data/text.hpp"
#include "fusionllm/util/error.hpp"

#include "token_window.hpp"

namespace fusionllm::test {
namespace {

constexpr std::size_t vocabulary = 16;

TEST(SyntheticDatasetTest, labels_are_the_tokens_shifted_by_one) {
    const auto split = make_synthetic_dataset(1, 32, vocabulary, 0.0);

    const auto sample = split.train->get(5);
    const auto tokens = tokens_of(sample.at(0));
    const auto labels = tokens_of(sample.at(1));

    ASSERT_EQ(tokens.size(), 32u);
    EXPECT_EQ(std::vector(tokens.begin() + 1, tokens.end()),
              std::vector(labels.begin(), labels.end() - 1));
}

TEST(SyntheticDatasetTest, seven_of_eight_tokens_follow_one_table) {
    const auto train = make_synthetic_dataset(1, 64, vocabulary, 0.0).train;

    std::map<std::int64_t, std::map<std::int64_t, int>> counts;
    int num_pairs = 0;
    for (std::size_t i = 0; i < 500; ++i) {
        const auto sample = train->get(i * 1000);
        const auto tokens = tokens_of(sample.at(0));
        const auto labels = tokens_of(sample.at(1));
        for (std::size_t t = 0; t < tokens.size(); ++t, ++num_pairs) {
            ++counts[tokens[t]][labels[t]];
        }
    }
    int num_usual = 0;
    std::set<std::int64_t> successors;
    for (const auto& [token, labels] : counts) {
        const auto usual = std::max_element(
            labels.begin(), labels.end(), [](const auto& a, const auto& b) {
                return a.second < b.second;
            });
        num_usual += usual->second;
        successors.insert(usual->first);
    }

    EXPECT_EQ(counts.size(), vocabulary);
    EXPECT_EQ(successors.size(), vocabulary);
    EXPECT_EQ(*successors.begin(), 0);
    EXPECT_EQ(*successors.rbegin(), std::int64_t{vocabulary} - 1);
    // 32000 pairs: the standard deviation is 0.0018.
    EXPECT_NEAR(static_cast<double>(num_usual) / num_pairs,
                7.0 / 8.0 + 1.0 / (8.0 * vocabulary),
                0.01);
}

TEST(SyntheticDatasetTest, a_sample_is_a_function_of_seed_and_number) {
    const auto one = make_synthetic_dataset(1, 8, vocabulary, 0.0).train;
    const auto again = make_synthetic_dataset(1, 8, vocabulary, 0.5).train;
    const auto other = make_synthetic_dataset(2, 8, vocabulary, 0.0).train;

    EXPECT_EQ(one->get(3), again->get(3));
    EXPECT_NE(one->get(3), one->get(4));
    EXPECT_NE(one->get(3), other->get(3));
}

TEST(SyntheticDatasetTest, validation_is_the_last_part_of_the_samples) {
    const auto whole = make_synthetic_dataset(1, 32, 256, 0.0);
    const auto split = make_synthetic_dataset(1, 32, 256, 0.25);

    const std::size_t kept = split.train->size();

    EXPECT_EQ(whole.validation, nullptr);
    EXPECT_EQ(kept + split.validation->size(), whole.train->size());
    EXPECT_EQ(split.validation->size(), std::size_t{1} << 18);
    EXPECT_EQ(split.train->get(kept - 1), whole.train->get(kept - 1));
    EXPECT_EQ(split.validation->get(0), whole.train->get(kept));
}

TEST(SyntheticDatasetTest, content_hash_sees_seed_vocabulary_and_split) {
    const auto hash_of = [](std::uint64_t seed, std::size_t v, double f) {
        return make_synthetic_dataset(seed, 8, v, f).train->content_hash();
    };

    EXPECT_EQ(hash_of(1, 16, 0.1), hash_of(1, 16, 0.1));
    EXPECT_NE(hash_of(1, 16, 0.1), hash_of(2, 16, 0.1));
    EXPECT_NE(hash_of(1, 16, 0.1), hash_of(1, 17, 0.1));
    EXPECT_NE(hash_of(1, 16, 0.1), hash_of(1, 16, 0.2));
}

TEST(SyntheticDatasetTest, refuses_what_cannot_be_learned) {
    EXPECT_THROW(make_synthetic_dataset(1, 0, 16, 0.1), InputError);
    EXPECT_THROW(make_synthetic_dataset(1, 8, 1, 0.1), InputError);
    EXPECT_THROW(make_synthetic_dataset(1, 8, 16, 1.0), InputError);
}

}  // namespace
}  // namespace fusionllm::test
