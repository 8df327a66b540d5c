#include "fusionllm/util/stored_rows.hpp"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "message_of.hpp"

namespace fusionllm::test {
namespace {

using testing::ElementsAre;

StoredRows rows_of(const std::string& name, std::vector<std::int64_t> numbers) {
    StoredRows rows{
        {DType::i64, {static_cast<std::int64_t>(numbers.size())}}, name, {}};
    rows.read = [numbers](std::size_t first, std::span<std::byte> into) {
        ASSERT_LE(first * 8 + into.size(), numbers.size() * 8);
        std::memcpy(into.data(), numbers.data() + first, into.size());
    };
    return rows;
}

std::vector<std::int64_t> read(const StoredRows& rows,
                               std::size_t first,
                               std::size_t count) {
    std::vector<std::int64_t> numbers(count);
    rows.read(first, std::as_writable_bytes(std::span(numbers)));
    return numbers;
}

TEST(JoinedRows, are_read_across_their_borders) {
    const StoredRows rows = join_rows({rows_of("a", {1, 2, 3}),
                                       rows_of("none", {}),
                                       rows_of("b", {4}),
                                       rows_of("c", {5, 6})});

    EXPECT_EQ(rows.size(), 6u);
    EXPECT_THAT(read(rows, 0, 6), ElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_THAT(read(rows, 2, 3), ElementsAre(3, 4, 5));
    EXPECT_THAT(read(rows, 3, 1), ElementsAre(4));
    EXPECT_THAT(read(rows, 5, 1), ElementsAre(6));
}

TEST(JoinedRows, must_be_of_one_kind) {
    StoredRows other = rows_of("b", {1});
    other.type = {DType::f32, {1, 3}};

    EXPECT_EQ(message_of<InputError>([&] {
                  join_rows({rows_of("a", {1}), other});
              }),
              "a has samples of i64[], but b has some of f32[3]; give files of "
              "one kind");
}

}  // namespace
}  // namespace fusionllm::test
