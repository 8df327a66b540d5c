// What a run that shall measure its links says where it cannot.

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

    const ProbedTopology probed = probe_topology(world, make_hosts(world), [&] {
        RunInput input = probing_input();
        input.topology.spec.sites = {{"lyon", world.size() + 1}};
        return input;
    });

    EXPECT_NE(probed.problem.find(std::to_string(world.size() + 1)),
              std::string::npos)
        << probed.problem;
    EXPECT_EQ(probed.status, 2);
    EXPECT_FALSE(probed.spec);
}

TEST(ProbeTopology, tells_all_ranks_what_is_wrong_with_the_input) {
    const auto world = mpi::Communicator::world();

    const ProbedTopology probed =
        probe_topology(world, make_hosts(world), []() -> RunInput {
            throw InputError("no such file");
        });

    EXPECT_EQ(probed.problem, "no such file");
    EXPECT_EQ(probed.status, 2);
}

TEST(ProbeTopology, is_measured_only_if_the_input_asks) {
    const auto world = mpi::Communicator::world();

    const ProbedTopology left =
        probe_topology(world, make_hosts(world), [] { return RunInput(); });
    const ProbedTopology probed =
        probe_topology(world, make_hosts(world), probing_input);

    EXPECT_TRUE(left.problem.empty());
    EXPECT_FALSE(left.spec);
    EXPECT_TRUE(probed.problem.empty()) << probed.problem;
    ASSERT_EQ(probed.spec.has_value(), world.rank() == 0);
    if (probed.spec) {
        EXPECT_EQ(probed.spec->sites.size(), 2u);
        EXPECT_EQ(probed.spec->links.size(), 2u);
    }
}

}  // namespace
}  // namespace fusionllm::test
