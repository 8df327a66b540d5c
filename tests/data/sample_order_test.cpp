#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/data/dataset.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

constexpr auto shuffled = SampleOrder::Kind::shuffled;
constexpr auto sequential = SampleOrder::Kind::sequential;

std::vector<std::size_t> epoch_of(const SampleOrder& order,
                                  std::size_t size,
                                  std::uint64_t epoch) {
    std::vector<std::size_t> indices;
    for (std::uint64_t i = 0; i < size; ++i) {
        indices.push_back(order(epoch * size + i));
    }
    return indices;
}

class SampleOrderSizeTest : public testing::TestWithParam<std::size_t> {};

TEST_P(SampleOrderSizeTest, an_epoch_has_every_sample_once) {
    const std::size_t size = GetParam();
    const SampleOrder order(7, size, shuffled);

    for (const std::uint64_t epoch : {0, 1, 1000000}) {
        std::vector<int> num_times(size, 0);
        for (const std::size_t index : epoch_of(order, size, epoch)) {
            ASSERT_LT(index, size);
            ++num_times[index];
        }
        EXPECT_EQ(num_times, std::vector<int>(size, 1));
    }
}

INSTANTIATE_TEST_SUITE_P(sizes,
                         SampleOrderSizeTest,
                         testing::Values(1,
                                         2,
                                         3,
                                         4,
                                         5,
                                         7,
                                         8,
                                         15,
                                         16,
                                         17,
                                         63,
                                         64,
                                         65,
                                         255,
                                         257,
                                         1000,
                                         4096,
                                         4097,
                                         100003));

TEST(SampleOrderTest, epochs_and_seeds_have_orders_of_their_own) {
    constexpr std::size_t size = 100;
    const SampleOrder order(7, size, shuffled);
    const SampleOrder other(8, size, shuffled);

    EXPECT_NE(epoch_of(order, size, 0), epoch_of(order, size, 1));
    EXPECT_NE(epoch_of(order, size, 0), epoch_of(other, size, 0));
    EXPECT_EQ(epoch_of(order, size, 3),
              epoch_of(SampleOrder(7, size, shuffled), size, 3));
}

TEST(SampleOrderTest, every_sample_comes_first_about_as_often) {
    constexpr std::size_t size = 10;
    constexpr int num_epochs = 10000;
    const SampleOrder order(3, size, shuffled);

    std::vector<int> num_first(size, 0);
    for (std::uint64_t epoch = 0; epoch < num_epochs; ++epoch) {
        ++num_first[order(epoch * size)];
    }

    for (const int count : num_first) {
        EXPECT_NEAR(count, 1000, 150);  // five standard deviations
    }
}

TEST(SampleOrderTest, neighbours_do_not_stay_neighbours) {
    constexpr std::size_t size = 10000;
    const auto indices = epoch_of(SampleOrder(1, size, shuffled), size, 0);

    int num_successors = 0;
    for (std::size_t i = 1; i < size; ++i) {
        num_successors += indices[i] == indices[i - 1] + 1 ? 1 : 0;
    }

    EXPECT_LT(num_successors, 10);  // one is expected
}

TEST(SampleOrderTest, works_on_sizes_beyond_32_bits) {
    constexpr std::size_t size = (std::size_t{1} << 40) + 3;
    const SampleOrder order(1, size, shuffled);

    std::size_t num_above = 0;
    for (std::uint64_t i = 0; i < 100; ++i) {
        const std::size_t index = order(size - 50 + i);
        ASSERT_LT(index, size);
        num_above += index > size / 2 ? 1 : 0;
    }

    EXPECT_NEAR(static_cast<double>(num_above), 50.0, 25.0);
}

TEST(SampleOrderTest, sequential_order_counts_and_starts_again) {
    const SampleOrder order(7, 3, sequential);

    EXPECT_EQ(epoch_of(order, 7, 0),
              (std::vector<std::size_t>{0, 1, 2, 0, 1, 2, 0}));
}

// Resumed runs go on in this order.
TEST(SampleOrderTest, the_order_of_a_seed_never_changes) {
    EXPECT_EQ(epoch_of(SampleOrder(1, 8, shuffled), 8, 0),
              (std::vector<std::size_t>{3, 0, 7, 2, 1, 5, 4, 6}));
}

#ifndef NDEBUG
TEST(SampleOrderTest, an_order_of_nothing_is_a_bug) {
    EXPECT_THROW(SampleOrder(1, 0, shuffled), ContractError);
}
#endif

}  // namespace
}  // namespace fusionllm::test
