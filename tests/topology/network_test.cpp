#include "fusionllm/topology/network.hpp"

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

constexpr DeviceId lyon_0(0);
constexpr DeviceId lyon_1(1);
constexpr DeviceId lyon_2(2);
constexpr DeviceId osaka_0(3);
constexpr DeviceId osaka_1(4);
constexpr DeviceId graz_0(5);

/*!
 * Three sites; lyon-0 and lyon-1 share a host. Lyon to Osaka is faster than
 * back; Osaka's uplink and Graz's downlink are limited.
 */
Topology make_three_sites() {
    Topology topology = make_topology({{"lyon", 3}, {"osaka", 2}, {"graz", 1}});
    topology.devices[0].host = topology.devices[1].host = "l1";
    topology.sites[0].host_link = {1e-6, 1e10};
    topology.sites[0].link = {5e-6, 1e9};
    topology.sites[1].uplink_bytes_per_s = 4e6;
    topology.sites[2].downlink_bytes_per_s = 3e6;
    topology.site_links[0 * 3 + 1] = {0.1, 2e6};
    topology.site_links[1 * 3 + 0] = {0.2, 1e6};
    topology.site_links[1 * 3 + 2] = {0.3, 1e8};
    return topology;
}

std::vector<std::string> line_names(const Network& network,
                                    DeviceId from,
                                    DeviceId to) {
    std::vector<std::string> names;
    for (const LineId id : network.lines(from, to)) {
        names.push_back(network.line(id).name);
    }
    return names;
}

using Names = std::vector<std::string>;

TEST(NetworkTest, devices_of_a_site_have_links_of_their_own) {
    const Network network(make_three_sites());

    EXPECT_EQ(network.link(lyon_0, lyon_1), (Link{1e-6, 1e10}));
    EXPECT_EQ(network.link(lyon_0, lyon_2), (Link{5e-6, 1e9}));
    EXPECT_TRUE(network.lines(lyon_0, lyon_2).empty());
    EXPECT_EQ(network.name(lyon_0, lyon_2), "lyon-0 to lyon-2");
}

TEST(NetworkTest, devices_without_a_host_name_share_no_host) {
    Topology topology = make_topology({{"lyon", 2}});
    topology.sites[0].host_link = {1e-6, 1e10};

    const Network network(topology);

    EXPECT_EQ(network.link(DeviceId(0), DeviceId(1)), default_site_link);
}

TEST(NetworkTest, sites_share_one_line_a_direction) {
    const Network network(make_three_sites());

    EXPECT_EQ(network.link(lyon_0, osaka_0), (Link{0.1, 2e6}));
    EXPECT_EQ(network.link(osaka_0, lyon_0), (Link{0.2, 1e6}));
    EXPECT_EQ(line_names(network, lyon_0, osaka_0), Names{"lyon-osaka"});
    EXPECT_EQ(network.lines(lyon_0, osaka_0), network.lines(lyon_2, osaka_1));
    EXPECT_FALSE(network.lines(lyon_0, osaka_0) ==
                 network.lines(osaka_0, lyon_0));
    EXPECT_EQ(network.name(lyon_0, osaka_0), "lyon-osaka");
}

TEST(NetworkTest, uplinks_and_downlinks_limit_what_leaves_and_comes_in) {
    const Network network(make_three_sites());

    EXPECT_EQ(network.link(osaka_0, graz_0), (Link{0.3, 3e6}));
    EXPECT_EQ(line_names(network, osaka_0, graz_0),
              (Names{"uplink of osaka", "osaka-graz", "downlink of graz"}));
    EXPECT_EQ(line_names(network, osaka_1, lyon_2),
              (Names{"uplink of osaka", "osaka-lyon"}));
    EXPECT_EQ(network.line(network.lines(osaka_0, graz_0)[0]),
              (Line{"uplink of osaka", 4e6}));
    EXPECT_EQ(network.link(osaka_0, osaka_1), default_site_link)
        << "what stays at the site does not take its uplink";
}

TEST(NetworkTest, a_link_of_two_devices_takes_the_place_of_the_sites_line) {
    Topology topology = make_three_sites();
    topology.device_links = {{lyon_0, lyon_1, {7e-6, 5e5}},
                             {osaka_0, graz_0, {0.4, 2.5e6}},
                             {osaka_0, lyon_0, {0.4, 1e9}}};

    const Network network(topology);

    EXPECT_EQ(network.link(lyon_0, lyon_1), (Link{7e-6, 5e5}));
    EXPECT_EQ(network.link(lyon_1, lyon_0), (Link{1e-6, 1e10}))
        << "links are directed";
    EXPECT_EQ(network.link(osaka_0, graz_0), (Link{0.4, 2.5e6}));
    EXPECT_EQ(network.link(osaka_0, lyon_0), (Link{0.4, 4e6}))
        << "the uplink is still there";
    EXPECT_EQ(line_names(network, osaka_0, lyon_0), Names{"uplink of osaka"});
    EXPECT_EQ(network.name(osaka_0, lyon_0), "osaka-0 to lyon-0");
    EXPECT_EQ(line_names(network, osaka_1, lyon_0),
              (Names{"uplink of osaka", "osaka-lyon"}));
}

TEST(NetworkTest, a_device_reaches_itself_at_once) {
    const Network network(make_three_sites());

    EXPECT_EQ(network.link(osaka_0, osaka_0), Link{});
    EXPECT_EQ(transfer_s(network.link(osaka_0, osaka_0), 1e9), 0);
    EXPECT_TRUE(network.lines(osaka_0, osaka_0).empty());
}

TEST(NetworkTest, every_line_has_its_own_name) {
    const Network network(make_three_sites());
    std::vector<std::string> names;
    for (std::uint32_t i = 0; i < network.num_lines(); ++i) {
        names.push_back(network.line(LineId(i)).name);
    }

    EXPECT_EQ(names,
              (Names{"uplink of osaka",
                     "downlink of graz",
                     "lyon-osaka",
                     "lyon-graz",
                     "osaka-lyon",
                     "osaka-graz",
                     "graz-lyon",
                     "graz-osaka"}));
}

TEST(NetworkTest, plain_topologies_have_the_default_links) {
    const Network network(make_topology({{"a", 2}, {"b", 1}}));

    EXPECT_EQ(network.link(DeviceId(0), DeviceId(1)), default_site_link);
    EXPECT_EQ(network.link(DeviceId(0), DeviceId(2)), default_long_link);
    EXPECT_EQ(network.site_of(DeviceId(2)), 1u);
}

TEST(NetworkTest, a_transfer_takes_latency_and_bytes_over_bandwidth) {
    EXPECT_DOUBLE_EQ(transfer_s({0.02, 1e6}, 5e6), 5.02);
    EXPECT_DOUBLE_EQ(transfer_s({0.02, 1e6}, 0), 0.02);
}

TEST(NetworkTest, a_message_that_is_asked_for_takes_longer) {
    const Link link{0.02, 1e6, 65536, 0.04};

    EXPECT_DOUBLE_EQ(transfer_s(link, 65536), 0.02 + 0.065536);
    EXPECT_DOUBLE_EQ(transfer_s(link, 65537), 0.02 + 0.065537 + 0.04);
    EXPECT_DOUBLE_EQ(latency_s(link, 1e6), 0.06);
}

TEST(NetworkTest, a_topology_that_does_not_fit_together_is_refused) {
    Topology no_links = make_three_sites();
    no_links.site_links.pop_back();
    Topology lost_device = make_three_sites();
    lost_device.devices[1].site = "rome";
    Topology lost_link = make_three_sites();
    lost_link.device_links = {{lyon_0, DeviceId(6), {}}};

    EXPECT_THROW(Network{no_links}, InputError);
    EXPECT_THROW(Network{lost_device}, InputError);
    EXPECT_THROW(Network{lost_link}, InputError);
}

}  // namespace
}  // namespace fusionllm::test
