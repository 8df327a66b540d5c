// What a run that shall measure its links says where it cannot.

#include <algorithm>

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "app/commands/probe.hpp"

namespace fusionllm::test {
namespace {

RunInput probing_input() {
    RunInput input;
    input.data.kind = "synthetic";  // which needs no path
    input.topology.probe = true;
    return input;
}

void ignore(const Activity&) {}

//! One host for each rank.
std::vector<std::string> make_hosts(const mpi::Communicator& world) {
    std::vector<std::string> hosts;
    for (int rank = 0; rank < world.size(); ++rank) {
        hosts.push_back("gpu" + std::to_string(rank));
    }
    return hosts;
}

TEST(ProbeTopology, tells_all_ranks_why_it_cannot_be_measured) {
    const auto world = mpi::Communicator::world();

    const ProbedTopology probed = probe_topology(
        world,
        make_hosts(world),
        [&] {
            RunInput input = probing_input();
            input.topology.spec.sites = {{"lyon", world.size() + 1}};
            return input;
        },
        ignore);

    EXPECT_NE(probed.problem.find(std::to_string(world.size() + 1)),
              std::string::npos)
        << probed.problem;
    EXPECT_EQ(probed.status, 2);
    EXPECT_FALSE(probed.spec);
}

TEST(ProbeTopology, tells_all_ranks_what_is_wrong_with_the_input) {
    const auto world = mpi::Communicator::world();

    const ProbedTopology probed = probe_topology(
        world,
        make_hosts(world),
        []() -> RunInput { throw InputError("no such file"); },
        ignore);

    EXPECT_EQ(probed.problem, "no such file");
    EXPECT_EQ(probed.status, 2);
}

TEST(ProbeTopology, is_measured_only_if_the_input_asks) {
    const auto world = mpi::Communicator::world();

    const ProbedTopology left = probe_topology(
        world, make_hosts(world), [] { return RunInput(); }, ignore);
    const ProbedTopology probed =
        probe_topology(world, make_hosts(world), probing_input, ignore);

    EXPECT_TRUE(left.problem.empty());
    EXPECT_FALSE(left.spec);
    EXPECT_TRUE(probed.problem.empty()) << probed.problem;
    ASSERT_EQ(probed.spec.has_value(), world.rank() == 0);
    if (probed.spec) {
        EXPECT_EQ(probed.spec->sites.size(), 2u);
        EXPECT_EQ(probed.spec->links.size(), 2u);
    }
}

TEST(ProbeTopology, is_measured_in_no_meeting_and_all_come_to_as_many) {
    const auto world = mpi::Communicator::world();
    RankTable table(world, "probe-job");
    const bool is_root = world.rank() == 0;
    const Activity agreement{0, Phase::agreement, 0};
    std::vector<Phase> phases;
    const auto set = [&](const Activity& activity) {
        phases.push_back(activity.phase);
        table.set_activity(activity);
    };
    if (!is_root) {
        set(agreement);
    }

    probe_topology(world, make_hosts(world), probing_input, set);

    EXPECT_EQ(phases,
              is_root ? (std::vector<Phase>{
                            Phase::agreement, Phase::probe, Phase::start})
                      : (std::vector<Phase>{
                            Phase::agreement, Phase::probe, Phase::agreement}));
    set(agreement);
    table.enter();
    FUSIONLLM_MPI_CALL(MPI_Barrier(world.get()));
    const std::vector<RankStay> stays = table.find_stays();
    EXPECT_EQ(std::ranges::count(stays, 2u, &RankStay::meeting), world.size());
}

}  // namespace
}  // namespace fusionllm::test
