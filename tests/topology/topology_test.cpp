#include "fusionllm/topology/topology.hpp"

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

using Hosts = std::vector<std::string>;

std::vector<std::uint32_t> match(const Topology& topology,
                                 Match how,
                                 const Hosts& hosts) {
    std::vector<std::uint32_t> devices;
    for (const DeviceId device : match_ranks(topology, how, hosts)) {
        devices.push_back(device.get());
    }
    return devices;
}

//! The sentence of the `InputError`, or an empty text if there is none.
std::string error_of(const Topology& topology, Match how, const Hosts& hosts) {
    try {
        match_ranks(topology, how, hosts);
    } catch (const InputError& error) {
        return error.what();
    }
    return "";
}

TEST(TopologyTest, sites_become_devices_in_order) {
    const Topology topology = make_topology({{"lyon", 2}, {"graz", 1}});

    ASSERT_EQ(topology.devices.size(), 3u);
    EXPECT_EQ(topology.devices[1].name, "lyon-1");
    EXPECT_EQ(topology.devices[1].site, "lyon");
    EXPECT_EQ(topology.devices[2].name, "graz-0");
}

TEST(TopologyTest, uniform_devices_share_one_site) {
    const Topology topology = make_uniform_topology(3);

    EXPECT_EQ(topology, make_topology({{"local", 3}}));
}

TEST(TopologyTest, sites_that_make_no_sense_are_refused) {
    EXPECT_THROW(make_topology(std::vector<SiteSpec>{}), InputError);
    EXPECT_THROW(make_topology({{"", 1}}), InputError);
    EXPECT_THROW(make_topology({{"lyon", 0}}), InputError);
    EXPECT_THROW(make_topology({{"lyon", 1}, {"lyon", 2}}), InputError);
}

TEST(MatchRanksTest, by_order_rank_r_holds_device_r) {
    const Topology topology = make_topology({{"lyon", 2}, {"graz", 1}});

    EXPECT_EQ(match(topology, Match::order, {"b", "a", "b"}),
              (std::vector<std::uint32_t>{0, 1, 2}));
}

TEST(MatchRanksTest, a_wrong_number_of_ranks_says_how_many_to_start) {
    const Topology topology = make_topology({{"lyon", 2}, {"graz", 1}});

    const std::string error = error_of(topology, Match::order, {"a", "a"});

    EXPECT_NE(error.find("2 ranks but the topology has 3 devices"),
              std::string::npos);
    EXPECT_NE(error.find("mpirun -np 3"), std::string::npos);
    EXPECT_EQ(error_of(topology, Match::host, {"a", "a"}), error);
}

TEST(MatchRanksTest, by_host_ranks_take_the_devices_of_their_host) {
    Topology topology = make_topology({{"lyon", 2}, {"graz", 2}});
    topology.devices[0].host = "n0";
    topology.devices[1].host = "n1";
    topology.devices[2].host = "n2";
    topology.devices[3].host = "n2";

    EXPECT_EQ(match(topology, Match::host, {"n2", "n1", "n2", "n0"}),
              (std::vector<std::uint32_t>{2, 1, 3, 0}));
}

TEST(MatchRanksTest, unnamed_hosts_fill_the_sites_as_they_first_appear) {
    const Topology topology = make_topology({{"lyon", 3}, {"graz", 2}});

    EXPECT_EQ(match(topology, Match::host, {"x", "y", "x", "y", "z"}),
              (std::vector<std::uint32_t>{0, 3, 1, 4, 2}));
}

TEST(MatchRanksTest, named_and_unnamed_hosts_can_be_mixed) {
    Topology topology = make_topology({{"lyon", 2}, {"graz", 1}});
    topology.devices[2].host = "graz-login";

    EXPECT_EQ(match(topology, Match::host, {"graz-login", "x", "x"}),
              (std::vector<std::uint32_t>{2, 0, 1}));
}

TEST(MatchRanksTest, a_host_with_too_many_ranks_for_its_devices_is_named) {
    Topology topology = make_topology({{"lyon", 2}});
    topology.devices[0].host = "n0";
    topology.devices[1].host = "n1";

    const std::string error = error_of(topology, Match::host, {"n0", "n0"});

    EXPECT_NE(error.find("host 'n0' has 2 ranks"), std::string::npos);
    EXPECT_NE(error.find("gives it 1 device"), std::string::npos);
}

TEST(MatchRanksTest, a_host_that_would_span_two_sites_is_refused) {
    const Topology topology = make_topology({{"lyon", 1}, {"graz", 1}});

    const std::string error = error_of(topology, Match::host, {"x", "x"});

    EXPECT_NE(error.find("host 'x' has 2 ranks"), std::string::npos);
    EXPECT_NE(error.find("'lyon' 1, 'graz' 1"), std::string::npos);
    EXPECT_NE(error.find("match = \"order\""), std::string::npos);
}

}  // namespace
}  // namespace fusionllm::test
