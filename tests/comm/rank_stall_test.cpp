#include "fusionllm/comm/rank_stall.hpp"

#include <gtest/gtest.h>

namespace fusionllm::test {
namespace {

constexpr Activity start{0, Phase::start, 0};
constexpr Activity agreement{0, Phase::agreement, 0};
constexpr Activity checkpoint{200, Phase::checkpoint, 0};
constexpr Activity writing{200, Phase::writing, 0};

std::string describe(const std::vector<RankStay>& stays,
                     RanksHere ranks_here = RanksHere::all) {
    return describe_stall(stays, 30, "h", ranks_here);
}

TEST(RankStall, is_for_the_rank_that_has_not_come) {
    EXPECT_EQ(describe({{3, checkpoint, 5, 31},
                        {4, checkpoint, 5, 30},
                        {7, {199, Phase::forward, 3}, 4, 32}}),
              "rank 3 waits 31.0 s in the checkpoint of step 200 for rank 7, "
              "which is at F3 of step 199");
    EXPECT_EQ(describe({{0, start, 0, 40}, {1, agreement, 1, 40}}),
              "rank 1 waits 40.0 s at the start for rank 0, which is busy with "
              "input, model or data");
}

TEST(RankStall, is_for_the_rank_that_is_at_its_own_part) {
    EXPECT_EQ(describe({{3, checkpoint, 5, 31},
                        {4, writing, 5, 40},
                        {7, checkpoint, 5, 30}}),
              "rank 3 waits 31.0 s in the checkpoint of step 200 for rank 4, "
              "which writes its part");
}

TEST(RankStall, is_for_the_last_of_all) {
    // Rank 5 is late because it waits for rank 7, too.
    EXPECT_EQ(describe({{3, {200, Phase::end, 0}, 6, 31},
                        {5, writing, 5, 40},
                        {7, {199, Phase::update, 0}, 4, 50}}),
              "rank 3 waits 31.0 s at the end for rank 7, which is at update "
              "of step 199");
    EXPECT_EQ(
        describe({{3, checkpoint, 5, 31}, {5, start, 4, 9}, {7, start, 4, 9}}),
        "rank 3 waits 31.0 s in the checkpoint of step 200 for ranks 5, "
        "7");
}

TEST(RankStall, is_for_others_where_nobody_of_the_host_is_behind) {
    const std::vector<RankStay> stays{{3, checkpoint, 5, 31},
                                      {4, checkpoint, 5, 31}};

    EXPECT_EQ(describe(stays, RanksHere::some),
              "rank 3 waits 31.0 s in the checkpoint of step 200 for ranks of "
              "other hosts than h");
    EXPECT_EQ(describe(stays, RanksHere::all),
              "rank 3 waits 31.0 s in the checkpoint of step 200 for a call "
              "that all ranks are in");
}

TEST(RankStall, is_of_a_rank_that_writes_when_nobody_here_waits) {
    EXPECT_EQ(describe({{7, writing, 5, 31}}, RanksHere::some),
              "rank 7 (host h) writes its part of the checkpoint of step 200 "
              "for 31.0 s");
    EXPECT_EQ(describe({{7, {12, Phase::trace, 0}, 5, 31}}, RanksHere::some),
              "rank 7 (host h) writes its trace of step 12 for 31.0 s");
}

TEST(RankStall, is_for_a_rank_that_cannot_go_on_where_all_are_in_a_call) {
    const RankStay stopped{4, checkpoint, 5, 31, ProcessState::is_stopped};
    RankStay stuck{4, writing, 5, 31, ProcessState::waits_for_disk};

    EXPECT_EQ(describe({{3, checkpoint, 5, 31}, stopped}),
              "rank 3 waits 31.0 s in the checkpoint of step 200 for rank 4, "
              "which is in the checkpoint of step 200 (stopped)");
    // Rank 3 is in a call that needs rank 4, too.
    EXPECT_EQ(describe({{3, writing, 5, 31}, stopped}),
              "rank 4 (host h) is in the checkpoint of step 200 for 31.0 s "
              "(stopped)");
    EXPECT_EQ(describe({{2, checkpoint, 5, 31}, {3, writing, 5, 31}, stopped}),
              "rank 2 waits 31.0 s in the checkpoint of step 200 for rank 4, "
              "which is in the checkpoint of step 200 (stopped)");
    EXPECT_EQ(describe({{3, writing, 5, 31}, stuck}),
              "rank 4 (host h) writes its part of the checkpoint of step 200 "
              "for 31.0 s (waits for a disk)");
    EXPECT_EQ(describe({{2, checkpoint, 5, 31}, {3, writing, 5, 31}, stuck}),
              "rank 2 waits 31.0 s in the checkpoint of step 200 for rank 4, "
              "which writes its part (waits for a disk)");
}

TEST(RankStall, is_none_while_links_are_measured) {
    constexpr Activity probe{0, Phase::probe, 0};

    EXPECT_EQ(describe({{0, probe, 1, 99}, {1, probe, 1, 99}}), "");
    EXPECT_EQ(describe({{0, probe, 1, 99}, {1, agreement, 2, 40}}),
              "rank 1 waits 40.0 s at the start for rank 0, which measures "
              "links");
}

TEST(RankStall, is_none_before_its_time_or_in_the_pipeline) {
    EXPECT_EQ(describe({}), "");
    EXPECT_EQ(describe({{3, checkpoint, 5, 29}, {7, writing, 5, 29}}), "");
    EXPECT_EQ(describe({{3, {9, Phase::forward, 0}, 5, 99},
                        {7, {9, Phase::update, 0}, 5, 99}}),
              "");
    EXPECT_EQ(describe({{3, start, 0, 99}}), "");
}

}  // namespace
}  // namespace fusionllm::test
