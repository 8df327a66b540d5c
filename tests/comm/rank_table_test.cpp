#include "fusionllm/comm/rank_table.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fusionllm::test {
namespace {

void meet(const mpi::Communicator& world) {
    FUSIONLLM_MPI_CALL(MPI_Barrier(world.get()));
}

//! A child that ends at once; until `reap` it is a zombie.
class Child {
public:
    //! Runs `body`, which must do nothing but plain memory accesses.
    template <class Body>
    explicit Child(Body body) : pid_(fork()) {
        if (pid_ == 0) {
            body();
            _exit(0);
        }
        siginfo_t info{};
        waitid(P_PID, pid_, &info, WEXITED | WNOWAIT);
    }
    int pid() const { return pid_; }
    void reap() const { waitpid(pid_, nullptr, 0); }

private:
    int pid_;
};

TEST(RankTable, tells_a_rank_that_has_died_and_what_it_did) {
    const auto world = mpi::Communicator::world();
    RankTable table(world, "job/1:a b");
    meet(world);
    // Every rank stands for one whose process is a child that has ended.
    const Child child([&] {
        table.set_stage(7);
        table.set_activity({4000000000u, Phase::backward, 0xfffffe});
        table.enter();
    });
    meet(world);

    const auto dead_zombies = table.find_dead();
    meet(world);
    child.reap();
    meet(world);
    const auto dead = table.find_dead();

    ASSERT_EQ(std::ssize(dead), world.size());
    EXPECT_EQ(dead, dead_zombies);
    EXPECT_EQ(dead[world.rank()],
              (RankStatus{world.rank(),
                          child.pid(),
                          7,
                          {4000000000u, Phase::backward, 0xfffffe}}));
}

TEST(RankTable, does_not_miss_ranks_that_have_left_or_never_came) {
    const auto world = mpi::Communicator::world();
    RankTable table(world, "job");
    const Child child([&] {
        if (world.rank() % 2 == 0) {
            table.enter();
            table.leave();
        }
    });
    child.reap();
    meet(world);

    EXPECT_TRUE(table.find_dead().empty());
}

TEST(RankTable, does_not_call_living_ranks_dead) {
    const auto world = mpi::Communicator::world();
    RankTable table(world, "job");
    table.enter();
    meet(world);

    EXPECT_TRUE(table.find_dead().empty());
    meet(world);
}

TEST(RankTable, counts_a_checkpoint_as_one_meeting) {
    const auto world = mpi::Communicator::world();
    RankTable table(world, "job");
    table.enter();
    meet(world);
    std::vector<std::uint32_t> meetings;

    for (const Activity activity : {Activity{0, Phase::agreement, 0},
                                    Activity{4, Phase::start, 0},
                                    Activity{4, Phase::forward, 1},
                                    Activity{4, Phase::checkpoint, 0},
                                    Activity{4, Phase::writing, 0},
                                    Activity{4, Phase::checkpoint, 0},
                                    Activity{5, Phase::writing, 0},
                                    Activity{5, Phase::end, 0}}) {
        table.set_activity(activity);
        const RankStay stay = table.find_stays()[world.rank()];
        EXPECT_EQ(stay.activity, activity);
        EXPECT_LT(stay.for_s, 60);
        meetings.push_back(stay.meeting);
    }

    EXPECT_EQ(meetings, (std::vector<std::uint32_t>{1, 1, 1, 2, 2, 2, 3, 4}));
    meet(world);
}

TEST(RankTable, lets_one_rank_of_a_host_say_why_nothing_moves) {
    const auto world = mpi::Communicator::world();
    RankTable table(world, "job");
    meet(world);
    int num_claimed = 0;

    for (int i = 0; i < 3; ++i) {
        num_claimed += table.claim_notice(1000) ? 1 : 0;
    }

    FUSIONLLM_MPI_CALL(MPI_Allreduce(
        MPI_IN_PLACE, &num_claimed, 1, MPI_INT, MPI_SUM, world.get()));
    EXPECT_EQ(num_claimed, 1);
}

TEST(RankTable, lets_one_rank_report_deaths_and_the_others_wait_for_it) {
    const auto world = mpi::Communicator::world();
    RankTable table(world, "job");
    meet(world);

    const bool is_reporter = table.begin_report();
    EXPECT_FALSE(table.begin_report());
    meet(world);
    EXPECT_FALSE(table.has_report_ended());
    meet(world);
    if (is_reporter) {
        table.end_report();
    }
    meet(world);

    EXPECT_TRUE(table.has_report_ended());
    int num_reporters = is_reporter ? 1 : 0;
    FUSIONLLM_MPI_CALL(MPI_Allreduce(
        MPI_IN_PLACE, &num_reporters, 1, MPI_INT, MPI_SUM, world.get()));
    EXPECT_EQ(num_reporters, 1);
}

TEST(RankTable, says_who_died_where_and_what_to_do) {
    EXPECT_EQ(describe_death({3, 123, 3, {12, Phase::forward, 3}}, "h"),
              "rank 3 (pid 123, host h) died in step 12 while F3 of stage 3; "
              "continue with --resume from the last checkpoint");
    EXPECT_EQ(describe_death({0, 9, -1, {0, Phase::start, 0}}, "h"),
              "rank 0 (pid 9, host h) died in step 0 while start; "
              "continue with --resume from the last checkpoint");
}

}  // namespace
}  // namespace fusionllm::test
