#include "fusionllm/data/tensors.hpp"

#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "message_of.hpp"
#include "rows_in_memory.hpp"

namespace fusionllm::test {
namespace {

using testing::HasSubstr;

std::vector<float> count_up(std::size_t size) {
    std::vector<float> numbers(size);
    std::iota(numbers.begin(), numbers.end(), 0.0F);
    return numbers;
}

StoredRows labels_of(std::vector<std::int64_t> numbers) {
    const auto size = static_cast<std::int64_t>(numbers.size());
    return rows_in_memory("y", DType::i64, {size}, std::move(numbers));
}

TEST(TensorDataset, gives_row_i_of_every_tensor_in_their_order) {
    const auto split = make_tensor_dataset(
        {rows_in_memory("x", DType::f32, {4, 2}, count_up(8)),
         labels_of({5, 6, 7, 8})},
        0.25);

    ASSERT_EQ(split.train->size(), 3u);
    ASSERT_EQ(split.validation->size(), 1u);
    const auto sample = split.train->get(2);
    ASSERT_EQ(sample.size(), 2u);
    EXPECT_EQ(sample[0].type, (TensorType{DType::f32, {2}}));
    float x[2];
    std::memcpy(x, sample[0].bytes.data(), sizeof x);
    EXPECT_EQ(x[0], 4.0F);
    EXPECT_EQ(x[1], 5.0F);
    EXPECT_EQ(sample[1].type, (TensorType{DType::i64, {}}));
    const auto last = split.validation->get(0);
    std::int64_t y = 0;
    std::memcpy(&y, last[1].bytes.data(), sizeof y);
    EXPECT_EQ(y, 8);
}

TEST(TensorDataset, reads_no_more_than_is_wanted) {
    const std::size_t size = 100000;
    const auto bytes_read = std::make_shared<std::size_t>();

    const auto split =
        make_tensor_dataset({rows_in_memory("x",
                                            DType::f32,
                                            {static_cast<std::int64_t>(size)},
                                            count_up(size),
                                            bytes_read)},
                            0.0);
    split.train->get(5000);

    EXPECT_LT(*bytes_read, size);
    EXPECT_EQ(split.validation, nullptr);
}

TEST(TensorDataset, hashes_types_and_samples_from_first_to_last) {
    const auto hash = [](std::vector<std::int64_t> numbers) {
        return make_tensor_dataset({labels_of(std::move(numbers))}, 0.0)
            .train->content_hash();
    };

    EXPECT_EQ(hash({1, 2, 3}), hash({1, 2, 3}));
    EXPECT_NE(hash({1, 2, 3}), hash({4, 2, 3}));
    EXPECT_NE(hash({1, 2, 3}), hash({1, 2, 4}));
    EXPECT_NE(hash({1, 2, 3}), hash({1, 2, 3, 3}));
}

TEST(TensorDataset, refuses_what_has_different_numbers_of_samples) {
    EXPECT_THAT(
        message_of<InputError>([] {
            make_tensor_dataset({labels_of({1, 2}), labels_of({1})}, 0.0);
        }),
        HasSubstr("their first axes must be equal"));
    EXPECT_THAT(message_of<InputError>([] { make_tensor_dataset({}, 0.0); }),
                HasSubstr("no tensor"));
    EXPECT_THAT(message_of<InputError>(
                    [] { make_tensor_dataset({labels_of({})}, 0.0); }),
                HasSubstr("has no samples"));
}

}  // namespace
}  // namespace fusionllm::test
