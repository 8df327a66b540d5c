#include "app/commands/rank_talk.hpp"

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

//! Of each rank in turn: what it has of LibTorch, all else as here.
std::vector<ProgramVersions> with_libtorch(
    const std::vector<std::string>& versions) {
    std::vector<ProgramVersions> of_rank;
    for (const std::string& version : versions) {
        of_rank.push_back(own_versions());
        of_rank.back().libtorch = version;
    }
    return of_rank;
}

std::string message_of(const std::vector<ProgramVersions>& of_rank) {
    try {
        check_versions(of_rank);
    } catch (const InputError& error) {
        return error.what();
    }
    return "";
}

TEST(ProgramVersions, survive_their_text_form) {
    const ProgramVersions versions{"0.1.0", 2, "2.6.0", 0xfedcba9876543210};

    EXPECT_EQ(parse_program_versions(to_text(versions)), versions);
}

TEST(ProgramVersions, of_libtorch_may_differ_those_of_messages_may_not) {
    auto of_rank = with_libtorch({"1.13.1", "2.6.0", "1.13.1"});
    EXPECT_EQ(message_of(of_rank), "");

    of_rank[2].wire = 99;
    EXPECT_TRUE(message_of(of_rank).starts_with(
        "rank 2 is fusionllm " + of_rank[0].fusionllm +
        " with messages of version 99, rank 0 is"));
}

TEST(ProgramVersions, of_this_program_must_be_equal) {
    auto of_rank = with_libtorch({"1.13.1", "1.13.1"});
    of_rank[1].fusionllm = "7.8.9";

    EXPECT_TRUE(
        message_of(of_rank).starts_with("rank 1 is fusionllm 7.8.9 with"));
}

TEST(ProgramVersions, newest_libtorch_is_the_first_of_the_largest_numbers) {
    EXPECT_EQ(find_newest(with_libtorch({"1.13.1", "2.9.1", "2.9.1"})), 1u);
    EXPECT_EQ(find_newest(with_libtorch({"2.9.1", "2.15.0", "1.13.1"})), 1u);
    EXPECT_EQ(find_newest(with_libtorch({"2.9.1", "2.9.1"})), 0u);
}

}  // namespace
}  // namespace fusionllm::test
