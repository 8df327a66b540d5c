#include "fusionllm/util/text.hpp"

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

using Strings = std::vector<std::string>;

const Strings keys = {"micro_batches", "schedule", "steps", "seed", "lr"};

TEST(TextTest, finds_the_key_that_was_meant) {
    EXPECT_EQ(find_nearest("micro_batch", keys), "micro_batches");
    EXPECT_EQ(find_nearest("microbatches", keys), "micro_batches");
    EXPECT_EQ(find_nearest("shcedule", keys), "schedule");
    EXPECT_EQ(find_nearest("step", keys), "steps");
    EXPECT_EQ(find_nearest("SEED", keys), "seed");
    EXPECT_EQ(find_nearest("rl", keys), "lr");
}

TEST(TextTest, finds_nothing_when_nothing_is_near) {
    EXPECT_EQ(find_nearest("colour", keys), std::nullopt);
    EXPECT_EQ(find_nearest("xy", keys), std::nullopt);
    EXPECT_EQ(find_nearest("", keys), std::nullopt);
    EXPECT_EQ(find_nearest("x", {"y"}), std::nullopt);
    EXPECT_EQ(find_nearest("steps", {}), std::nullopt);
}

TEST(TextTest, takes_the_first_of_equally_near_ones) {
    EXPECT_EQ(find_nearest("stage_x", {"stage_a", "stage_b"}), "stage_a");
    EXPECT_EQ(find_nearest("stage_x", {"stage_b", "stage_a"}), "stage_b");
}

TEST(TextTest, asks_only_when_something_is_near) {
    EXPECT_EQ(did_you_mean("stpes", keys), "; did you mean 'steps'?");
    EXPECT_EQ(did_you_mean("colour", keys), "");
}

TEST(TextTest, n_separators_make_n_plus_one_parts) {
    EXPECT_EQ(split("a,b,c", ','), (Strings{"a", "b", "c"}));
    EXPECT_EQ(split(",a,,b,", ','), (Strings{"", "a", "", "b", ""}));
    EXPECT_EQ(split("abc", ','), (Strings{"abc"}));
    EXPECT_EQ(split("", ','), (Strings{""}));
}

TEST(TextTest, trims_blanks_at_both_ends_only) {
    EXPECT_EQ(trim(" \t a b\r\n"), "a b");
    EXPECT_EQ(trim("ab"), "ab");
    EXPECT_EQ(trim(" \n "), "");
    EXPECT_EQ(trim(""), "");
}

TEST(TextTest, table_aligns_numbers_right_and_names_left) {
    const std::string table =
        format_table({"device", "ops", "time"},
                     {{"3090-a", "7", "1.53 ms"}, {"v", "12", "20.1 ms"}});

    EXPECT_EQ(table,
              "device  ops     time\n"
              "------  ---  -------\n"
              "3090-a    7  1.53 ms\n"
              "v        12  20.1 ms\n");
}

TEST(TextTest, table_takes_blank_cells_as_missing_numbers) {
    const std::string table =
        format_table({"loss", "note"}, {{"10.25", ""}, {"-", "x"}});

    EXPECT_EQ(table,
              " loss  note\n"
              "-----  ----\n"
              "10.25\n"
              "    -  x\n");
}

TEST(TextTest, table_measures_letters_and_not_bytes) {
    EXPECT_EQ(format_table({"site", "n"}, {{"Zürich", "1"}, {"Berlin", "2"}}),
              "site    n\n"
              "------  -\n"
              "Zürich  1\n"
              "Berlin  2\n");
}

TEST(TextTest, table_without_rows_is_its_head) {
    EXPECT_EQ(format_table({"a", "bc"}, {}), "a  bc\n-  --\n");
}

#ifndef NDEBUG
TEST(TextTest, a_ragged_table_is_a_bug) {
    EXPECT_THROW(format_table({"a", "b"}, {{"1"}}), ContractError);
}
#endif

}  // namespace
}  // namespace fusionllm::test
