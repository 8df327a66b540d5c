#include "fusionllm/plan/device_groups.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "fusionllm/plan/device_order.hpp"

namespace fusionllm::test {
namespace {

constexpr double mbit_per_s = 1e6 / 8;

using Groups = std::vector<std::vector<std::uint32_t>>;

Groups group_numbers(const Topology& topology) {
    Groups numbers;
    for (const DeviceSet& group : find_device_groups(Network(topology))) {
        numbers.emplace_back();
        for (const DeviceId device : group) {
            numbers.back().push_back(device.get());
        }
    }
    return numbers;
}

//! Sites with a bandwidth inside each, and one between all of them.
Topology make_sites(const std::vector<SiteSpec>& sites,
                    const std::vector<double>& inside_mbit,
                    double between_mbit) {
    Topology topology = make_topology(sites);
    for (std::size_t s = 0; s < sites.size(); ++s) {
        topology.sites[s].link = {1e-4, inside_mbit[s] * mbit_per_s};
        topology.sites[s].host_link = topology.sites[s].link;
    }
    for (Link& link : topology.site_links) {
        link = {1e-2, between_mbit * mbit_per_s};
    }
    return topology;
}

TEST(DeviceGroupsTest, a_fast_site_does_not_merge_two_slower_ones) {
    const Topology topology =
        make_sites({{"a", 4}, {"b", 4}, {"c", 4}}, {1000, 1000, 10000}, 100);

    EXPECT_EQ(group_numbers(topology),
              (Groups{{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11}}));
}

TEST(DeviceGroupsTest, equal_devices_of_one_site_are_one_group) {
    EXPECT_EQ(group_numbers(make_uniform_topology(5)),
              (Groups{{0, 1, 2, 3, 4}}));
    EXPECT_EQ(group_numbers(make_uniform_topology(1)), (Groups{{0}}));
}

TEST(DeviceGroupsTest, sites_joined_as_fast_as_they_are_inside_are_one_group) {
    EXPECT_EQ(
        group_numbers(make_sites({{"a", 2}, {"b", 3}}, {1000, 1000}, 1000)),
        (Groups{{0, 1, 2, 3, 4}}));
}

TEST(DeviceGroupsTest, a_single_remote_device_is_a_group_of_its_own) {
    EXPECT_EQ(
        group_numbers(make_sites({{"a", 3}, {"b", 1}}, {10000, 10000}, 8)),
        (Groups{{0, 1, 2}, {3}}));
    EXPECT_EQ(
        group_numbers(make_sites({{"a", 40}, {"b", 1}}, {10000, 10000}, 1000))
            .size(),
        2u);
}

TEST(DeviceGroupsTest, sites_of_one_device_each_are_groups) {
    EXPECT_EQ(group_numbers(make_sites(
                  {{"a", 1}, {"b", 1}, {"c", 1}}, {1000, 1000, 1000}, 20)),
              (Groups{{0}, {1}, {2}}));
}

TEST(DeviceGroupsTest, forty_eight_devices_of_six_sites_are_six_groups) {
    std::vector<SiteSpec> sites;
    for (int s = 0; s < 6; ++s) {
        sites.push_back({std::string(1, static_cast<char>('a' + s)), 8});
    }

    EXPECT_EQ(
        group_numbers(
            make_sites(sites, {10000, 1000, 1000, 10000, 2500, 1000}, 100))
            .size(),
        6u);
}

TEST(DeviceGroupsTest, a_slow_way_back_counts) {
    Topology topology = make_sites({{"a", 2}, {"b", 2}}, {1000, 1000}, 1000);
    topology.site_links[2] = {1e-2, 8 * mbit_per_s};  // b to a

    EXPECT_EQ(group_numbers(topology), (Groups{{0, 1}, {2, 3}}));
}

TEST(DeviceOrderTest, groups_follow_the_path_of_least_transfer_time) {
    // a - c - b is fast, a - b is slow.
    Topology topology =
        make_sites({{"a", 2}, {"b", 2}, {"c", 2}}, {1000, 1000, 1000}, 10);
    topology.site_links[0 * 3 + 2] = {1e-2, 100 * mbit_per_s};
    topology.site_links[2 * 3 + 0] = {1e-2, 100 * mbit_per_s};
    topology.site_links[1 * 3 + 2] = {1e-2, 100 * mbit_per_s};
    topology.site_links[2 * 3 + 1] = {1e-2, 100 * mbit_per_s};
    const Network network(topology);

    const auto order = order_devices(find_device_groups(network), network, 1e6);

    std::vector<std::size_t> sites;
    for (const DeviceId device : order) {
        sites.push_back(network.site_of(device));
    }
    EXPECT_EQ(sites, (std::vector<std::size_t>{0, 0, 2, 2, 1, 1}));
}

TEST(DeviceOrderTest, gateways_are_the_ends_of_their_groups) {
    Topology topology = make_sites({{"a", 4}, {"b", 4}}, {1000, 1000}, 10);
    const Link fast{1e-3, 100 * mbit_per_s};
    topology.device_links = {{DeviceId(1), DeviceId(6), fast},
                             {DeviceId(6), DeviceId(1), fast}};
    const Network network(topology);

    const auto order =
        order_devices({{DeviceId(0), DeviceId(1), DeviceId(2), DeviceId(3)},
                       {DeviceId(4), DeviceId(5), DeviceId(6), DeviceId(7)}},
                      network,
                      1e6);

    ASSERT_EQ(order.size(), 8u);
    EXPECT_EQ(order[3], DeviceId(1));
    EXPECT_EQ(order[4], DeviceId(6));
}

TEST(DeviceOrderTest, equal_devices_keep_their_order) {
    for (const int num_devices : {1, 2, 5, 8, 9, 30}) {
        const Network network(make_uniform_topology(num_devices));

        const auto order =
            order_devices(find_device_groups(network), network, 1e6);

        for (std::size_t d = 0; d < order.size(); ++d) {
            EXPECT_EQ(order[d].get(), d);
        }
    }
}

TEST(DeviceOrderTest, every_device_is_in_line_once) {
    std::vector<SiteSpec> sites;
    std::vector<double> inside;
    for (int s = 0; s < 11; ++s) {
        sites.push_back({fmt::format("s{}", s), 1 + s});
        inside.push_back(1000.0 + 10 * s);
    }
    const Network network(make_sites(sites, inside, 50));

    auto order = order_devices(find_device_groups(network), network, 1e6);

    std::ranges::sort(order);
    ASSERT_EQ(order.size(), network.num_devices());
    for (std::size_t d = 0; d < order.size(); ++d) {
        EXPECT_EQ(order[d].get(), d);
    }
}

}  // namespace
}  // namespace fusionllm::test
