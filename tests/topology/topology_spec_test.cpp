#include "fusionllm/topology/topology_spec.hpp"

#include <functional>
#include <limits>

#include <gtest/gtest.h>

#include "fusionllm/topology/network.hpp"

namespace fusionllm::test {
namespace {

using Part = TopologySpecError::Part;

DeviceKind kind_named(const std::string& name, double flops_per_s) {
    DeviceKind kind;
    kind.name = name;
    kind.flops_per_s = flops_per_s;
    return kind;
}

//! Two sites: lyon with a host of two a100 and one t4, osaka with two t4.
TopologySpec make_spec() {
    TopologySpec spec;
    spec.kinds = {kind_named("a100", 2e13), kind_named("t4", 8e12)};
    SiteSpec lyon{"lyon"};
    lyon.devices = {{"a100", 2, "l1"}, {"t4", 1, ""}};
    lyon.link = {1e-4, 1e9};
    lyon.host_link = Link{1e-6, 1e11};
    lyon.uplink_bytes_per_s = 1e7;
    SiteSpec osaka{"osaka"};
    osaka.devices = {{"t4", 2, "o1"}};
    osaka.link = {2e-4, 2e9};
    spec.sites = {lyon, osaka};
    spec.links = {{"lyon", "osaka", {0.1, 1e6}}};
    spec.default_link = {0.5, 5e5};
    return spec;
}

TEST(TopologySpecTest, devices_stand_in_order_with_kind_host_and_site) {
    const Topology topology = make_topology(make_spec());

    EXPECT_EQ(topology.devices,
              (std::vector<Device>{{"lyon-0", "l1", "lyon", 0},
                                   {"lyon-1", "l1", "lyon", 0},
                                   {"lyon-2", "", "lyon", 1},
                                   {"osaka-0", "o1", "osaka", 1},
                                   {"osaka-1", "o1", "osaka", 1}}));
    EXPECT_EQ(topology.kind_of(DeviceId(3)).name, "t4");
}

TEST(TopologySpecTest, sites_have_their_links_and_limits) {
    const Topology topology = make_topology(make_spec());

    EXPECT_EQ(topology.sites,
              (std::vector<Site>{{"lyon", {1e-6, 1e11}, {1e-4, 1e9}, 1e7, 0},
                                 {"osaka", {2e-4, 2e9}, {2e-4, 2e9}, 0, 0}}))
        << "a host without a link of its own has that of its site";
}

TEST(TopologySpecTest, a_direction_without_a_link_has_the_default_one) {
    const Network network(make_topology(make_spec()));

    EXPECT_EQ(network.link(DeviceId(0), DeviceId(3)), (Link{0.1, 1e6}));
    EXPECT_EQ(network.link(DeviceId(3), DeviceId(0)), (Link{0.5, 5e5}));
}

TEST(TopologySpecTest, links_of_two_devices_are_kept_by_id) {
    TopologySpec spec = make_spec();
    spec.links.push_back({"lyon-2", "osaka-1", {0.3, 3e6}});

    const Topology topology = make_topology(spec);

    EXPECT_EQ(
        topology.device_links,
        (std::vector<DeviceLink>{{DeviceId(2), DeviceId(4), {0.3, 3e6}}}));
}

TEST(TopologySpecTest, ranks_are_devices_of_the_only_kind) {
    TopologySpec spec;
    spec.sites = {{"lyon", 2}};
    const Topology without_kinds = make_topology(spec);
    spec.kinds = {kind_named("a100", 2e13)};
    const Topology with_a_kind = make_topology(spec);

    EXPECT_EQ(without_kinds.kind_of(DeviceId(1)), DeviceKind{});
    EXPECT_EQ(with_a_kind.kind_of(DeviceId(1)).name, "a100");
}

TEST(TopologySpecTest, the_kind_that_is_assumed_can_be_named) {
    TopologySpec spec;
    SiteSpec lyon{"lyon"};
    lyon.devices = {{"cpu", 2, ""}};
    spec.sites = {lyon};

    EXPECT_EQ(make_topology(spec).kind_of(DeviceId(1)), DeviceKind{});
}

struct BadSpec {
    std::function<void(TopologySpec&)> spoil;
    Part part;
    std::size_t index;
    std::string sentence;
};

TEST(TopologySpecTest, what_makes_no_sense_is_named_with_its_part) {
    const double infinity = std::numeric_limits<double>::infinity();
    const BadSpec cases[] = {
        {[](auto& s) { s.kinds[1].name = "a100"; },
         Part::kinds,
         1,
         "two device kinds are named 'a100'"},
        {[](auto& s) { s.kinds[0].name = ""; }, Part::kinds, 0, "no name"},
        {[](auto& s) { s.kinds[1].flops_per_s = 0; },
         Part::kinds,
         1,
         "'t4' computes 0 flop/s"},
        {[](auto& s) { s.kinds[0].memory_bytes = -1; },
         Part::kinds,
         0,
         "negative amount"},
        {[](auto& s) { s.kinds[0].backward_efficiency[3] = 0; },
         Part::kinds,
         0,
         "efficiency that is not above 0"},
        {[](auto& s) {
             s.kinds[0].measured = {{"x", 1, -1}};
         },
         Part::kinds,
         0,
         "'x' with a negative time"},
        {[](auto& s) { s.sites[1].name = "lyon"; },
         Part::sites,
         1,
         "site 'lyon' is in the topology twice"},
        {[](auto& s) { s.sites[1].devices[0].kind = "t5"; },
         Part::sites,
         1,
         "no device kind 't5'; did you mean 't4'?; there are a100, t4"},
        {[](auto& s) { s.sites[0].devices[1].count = 0; },
         Part::sites,
         0,
         "site 'lyon' has 0 devices of kind 't4'"},
        {[](auto& s) { s.sites[0].ranks = 3; },
         Part::sites,
         0,
         "both ranks and devices"},
        {[](auto& s) { s.sites[1].devices.clear(); },
         Part::sites,
         1,
         "site 'osaka' has 0 ranks"},
        {[](auto& s) {
             s.sites[1] = {"osaka", 2};
         },
         Part::sites,
         1,
         "Write devices = [{kind = \"a100\", count = 2}]"},
        {[](auto& s) { s.sites[1].devices[0].host = "l1"; },
         Part::sites,
         1,
         "host 'l1' is at the sites 'lyon' and 'osaka'"},
        {[](auto& s) { s.sites[1].link.bandwidth_bytes_per_s = 0; },
         Part::sites,
         1,
         "the link in site 'osaka' has the bandwidth 0 B/s"},
        {[](auto& s) { s.sites[0].host_link->latency_s = -1; },
         Part::sites,
         0,
         "latency -1 s"},
        {[](auto& s) { s.sites[0].downlink_bytes_per_s = -1; },
         Part::sites,
         0,
         "downlink below 0"},
        {[](auto& s) { s.sites[1].name = "lyon-2"; },
         Part::sites,
         1,
         "has the name of a device"},
        {[](auto& s) { s.links[0].to = "osaka-2"; },
         Part::links,
         0,
         "names 'osaka-2', which is neither a site nor a device"},
        {[](auto& s) { s.links[0].to = "osak"; },
         Part::links,
         0,
         "did you mean 'osaka'?"},
        {[](auto& s) { s.links[0].to = "lyon"; }, Part::links, 0, "itself"},
        {[](auto& s) { s.links[0].to = "osaka-0"; },
         Part::links,
         0,
         "a site with a device"},
        {[](auto& s) { s.links.push_back(s.links[0]); },
         Part::links,
         1,
         "lyon to osaka is given twice"},
        {[=](auto& s) { s.links[0].link.bandwidth_bytes_per_s = infinity; },
         Part::links,
         0,
         "bandwidth inf B/s"},
        {[](auto& s) { s.links[0].link.rendezvous_s = -1; },
         Part::links,
         0,
         "rendezvous above 0 B of -1 s"},
        {[](auto& s) { s.links[0].link.within = 3; },
         Part::links,
         0,
         "measured within 3; that is a share from 0 to 1"},
        {[](auto& s) { s.default_link.latency_s = -0.1; },
         Part::default_link,
         0,
         "the default link has the latency -0.1 s"},
    };

    for (const BadSpec& bad : cases) {
        TopologySpec spec = make_spec();
        bad.spoil(spec);
        try {
            make_topology(spec);
            ADD_FAILURE() << "no error: " << bad.sentence;
        } catch (const TopologySpecError& error) {
            EXPECT_NE(std::string(error.what()).find(bad.sentence),
                      std::string::npos)
                << error.what();
            EXPECT_EQ(error.part(), bad.part) << error.what();
            EXPECT_EQ(error.index(), bad.index) << error.what();
        }
    }
}

}  // namespace
}  // namespace fusionllm::test
