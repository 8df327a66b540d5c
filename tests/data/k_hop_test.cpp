#include "fusionllm/data/k_hop.hpp"

#include <map>
#include <set>

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "token_window.hpp"

namespace fusionllm::test {
namespace {

constexpr std::size_t context = 24;
constexpr KHopOptions sizes{6, 4};
constexpr std::int64_t first_pair = 6;           // S
constexpr std::int64_t first_question = 6 + 36;  // S + S S

struct Sample {
    std::vector<std::int64_t> tokens;
    std::vector<std::int64_t> labels;
};

Sample get(const Dataset& dataset, std::size_t index) {
    const auto tensors = dataset.get(index);
    return {tokens_of(tensors.at(0)), tokens_of(tensors.at(1))};
}

//! f as the first tokens of a sample say it.
std::map<std::int64_t, std::int64_t> read_pairs(const Sample& sample) {
    std::map<std::int64_t, std::int64_t> function;
    for (std::size_t i = 0; i < 6; ++i) {
        const std::int64_t pair = sample.tokens[i] - first_pair;
        function[pair / 6] = pair % 6;
    }
    return function;
}

//! Of at most four hops.
std::int64_t answer_to(std::int64_t question,
                       const std::map<std::int64_t, std::int64_t>& function) {
    std::int64_t answer = question / 4;
    for (std::int64_t hop = 0; hop <= question % 4; ++hop) {
        answer = function.at(answer);
    }
    return answer;
}

TEST(KHopDatasetTest, pairs_say_one_cycle_through_all_symbols) {
    const auto train = make_k_hop_dataset(1, context, sizes, 0.0).train;

    for (std::size_t index = 0; index < 100; ++index) {
        const auto function = read_pairs(get(*train, index));
        std::set<std::int64_t> visited;
        for (std::int64_t symbol = 0; visited.insert(symbol).second;) {
            symbol = function.at(symbol);
        }

        EXPECT_EQ(function.size(), 6u);
        EXPECT_EQ(visited.size(), 6u);
    }
}

TEST(KHopDatasetTest, labels_of_questions_follow_the_pairs) {
    const auto train = make_k_hop_dataset(1, context, sizes, 0.0).train;
    std::map<std::int64_t, int> num_questions;  // by hops

    for (std::size_t index = 0; index < 200; ++index) {
        const Sample sample = get(*train, index);
        const auto function = read_pairs(sample);
        ASSERT_EQ(sample.tokens.size(), context);
        ASSERT_EQ(sample.labels.size(), context);
        for (std::size_t i = 6; i < context; ++i) {
            const std::int64_t question = sample.tokens[i] - first_question;
            const std::int64_t answer = answer_to(question, function);
            EXPECT_EQ(sample.labels[i], answer);
            ++num_questions[question % 4 + 1];
        }
    }

    // 3600 questions: the standard deviation is 26.
    EXPECT_EQ(num_questions.size(), 4u);
    for (const auto& [hops, number] : num_questions) {
        EXPECT_NEAR(number, 900, 130) << hops;
    }
}

TEST(KHopDatasetTest, label_noise_replaces_its_share_of_the_answers) {
    const KHopOptions noisy{6, 4, 0.3};
    const auto pure = make_k_hop_dataset(1, context, {6, 4}, 0.0).train;
    const auto train = make_k_hop_dataset(1, context, noisy, 0.0).train;
    int num_wrong = 0;

    for (std::size_t index = 0; index < 200; ++index) {
        const Sample sample = get(*train, index);
        const auto function = read_pairs(sample);
        EXPECT_EQ(function, read_pairs(get(*pure, index)));
        for (std::size_t i = 6; i < context; ++i) {
            const std::int64_t question = sample.tokens[i] - first_question;
            const std::int64_t answer = answer_to(question, function);
            ASSERT_GE(sample.labels[i], 0);
            ASSERT_LT(sample.labels[i], 6);
            num_wrong += static_cast<int>(sample.labels[i] != answer);
        }
    }

    // Five of six of the 0.3 of 3600 answers: the standard deviation is 26.
    EXPECT_NEAR(num_wrong, 900, 130);
}

TEST(KHopDatasetTest, pairs_have_the_label_that_the_loss_leaves_out) {
    const auto train = make_k_hop_dataset(1, context, sizes, 0.0).train;

    const Sample sample = get(*train, 3);

    for (std::size_t i = 0; i < 6; ++i) {
        EXPECT_EQ(sample.labels[i], -100);
    }
}

TEST(KHopDatasetTest, all_tokens_and_answers_are_of_the_vocabulary) {
    const auto train = make_k_hop_dataset(1, context, sizes, 0.0).train;
    std::set<std::int64_t> seen;

    for (std::size_t index = 0; index < 500; ++index) {
        const Sample sample = get(*train, index);
        seen.insert(sample.tokens.begin(), sample.tokens.end());
        seen.insert(sample.labels.begin() + 6, sample.labels.end());
    }

    // A pair (a, a) would be a cycle of one: six tokens are never used.
    EXPECT_EQ(k_hop_vocabulary(sizes), 6 + 36 + 24);
    EXPECT_EQ(seen.size(), 6u + 30u + 24u);
    EXPECT_EQ(*seen.begin(), 0);
    EXPECT_EQ(*seen.rbegin(), k_hop_vocabulary(sizes) - 1);
}

TEST(KHopDatasetTest, a_sample_is_a_function_of_seed_and_number) {
    const auto one = make_k_hop_dataset(1, context, sizes, 0.0).train;
    const auto again = make_k_hop_dataset(1, context, sizes, 0.5).train;
    const auto other = make_k_hop_dataset(2, context, sizes, 0.0).train;

    EXPECT_EQ(one->get(3), again->get(3));
    EXPECT_NE(one->get(3), one->get(4));
    EXPECT_NE(one->get(3), other->get(3));
}

TEST(KHopDatasetTest, validation_is_the_last_part_of_the_samples) {
    const auto whole = make_k_hop_dataset(1, context, sizes, 0.0);
    const auto split = make_k_hop_dataset(1, context, sizes, 0.25);

    const std::size_t kept = split.train->size();

    EXPECT_EQ(whole.validation, nullptr);
    EXPECT_EQ(split.validation->size(), std::size_t{1} << 18);
    EXPECT_EQ(kept + split.validation->size(), whole.train->size());
    EXPECT_EQ(split.validation->get(0), whole.train->get(kept));
}

TEST(KHopDatasetTest, content_hash_sees_seed_sizes_and_split) {
    const auto hash_of = [](std::uint64_t seed, KHopOptions options, double f) {
        return make_k_hop_dataset(seed, context, options, f)
            .train->content_hash();
    };

    EXPECT_EQ(hash_of(1, {6, 4}, 0.1), hash_of(1, {6, 4}, 0.1));
    EXPECT_NE(hash_of(1, {6, 4}, 0.1), hash_of(2, {6, 4}, 0.1));
    EXPECT_NE(hash_of(1, {6, 4}, 0.1), hash_of(1, {7, 4}, 0.1));
    EXPECT_NE(hash_of(1, {6, 4}, 0.1), hash_of(1, {6, 3}, 0.1));
    EXPECT_NE(hash_of(1, {6, 4}, 0.1), hash_of(1, {6, 4}, 0.2));
    EXPECT_NE(hash_of(1, {6, 4}, 0.1), hash_of(1, {6, 4, 0.3}, 0.1));
}

TEST(KHopDatasetTest, refuses_sizes_that_do_not_fit_together) {
    EXPECT_THROW(make_k_hop_dataset(1, 8, {2, 1}, 0.1), InputError);
    EXPECT_THROW(make_k_hop_dataset(1, 8, {4, 0}, 0.1), InputError);
    EXPECT_THROW(make_k_hop_dataset(1, 8, {4, 4}, 0.1), InputError);
    EXPECT_THROW(make_k_hop_dataset(1, 4, {4, 2}, 0.1), InputError);
    EXPECT_THROW(make_k_hop_dataset(1, 8, {4, 2}, 1.0), InputError);
    EXPECT_THROW(make_k_hop_dataset(1, 8, {4, 2, 1.0}, 0.1), InputError);
    EXPECT_THROW(make_k_hop_dataset(1, 8, {4, 2, -0.1}, 0.1), InputError);
    EXPECT_NO_THROW(make_k_hop_dataset(1, 5, {4, 2}, 0.1));
}

}  // namespace
}  // namespace fusionllm::test
