#include <algorithm>
#include <map>

#include <gtest/gtest.h>

#include "fusionllm/topology/network.hpp"
#include "fusionllm/util/file.hpp"

#include "app/run_input.hpp"
#include "app/topology_toml.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;

constexpr double mbit_per_s = 1e6 / 8;

fs::path testbeds() {
    return fs::path(FUSIONLLM_SOURCE_DIR) / "inputs/testbeds";
}

Topology load(const std::string& name) {
    return make_topology(load_topology_spec(testbeds() / (name + ".toml")));
}

//! Bandwidths of all links between different devices, ascending.
std::vector<double> bandwidths(const Topology& topology) {
    const Network network(topology);
    std::vector<double> all;
    for (std::uint32_t a = 0; a < network.num_devices(); ++a) {
        for (std::uint32_t b = 0; b < network.num_devices(); ++b) {
            if (a != b) {
                all.push_back(network.link(DeviceId(a), DeviceId(b))
                                  .bandwidth_bytes_per_s);
            }
        }
    }
    std::sort(all.begin(), all.end());
    return all;
}

TEST(Testbeds, have_the_devices_that_they_say) {
    std::map<std::string, std::size_t> num_devices;

    for (const auto& entry : fs::directory_iterator(testbeds())) {
        if (entry.path().extension() == ".toml") {
            const std::string name = entry.path().stem();
            num_devices[name] = load(name).devices.size();
        }
    }

    EXPECT_EQ(num_devices,
              (std::map<std::string, std::size_t>{{"campus-48", 48},
                                                  {"cloud-48", 48},
                                                  {"cluster", 48},
                                                  {"continents-48", 48},
                                                  {"homes-48", 48},
                                                  {"laptop", 2}}));
}

TEST(Testbeds, span_8_mbit_to_10_gbit_a_second) {
    std::vector<double> slowest;
    std::vector<double> fastest;

    for (const std::string name : {"campus-48", "continents-48", "homes-48"}) {
        const auto all = bandwidths(load(name));
        slowest.push_back(all.front() / mbit_per_s);
        fastest.push_back(all.back() / mbit_per_s);
    }

    EXPECT_EQ(slowest, (std::vector<double>{100, 8, 8}));
    EXPECT_EQ(fastest, (std::vector<double>{10'000, 10'000, 10'000}));
}

TEST(Testbeds, mix_consumer_and_data_centre_devices) {
    for (const std::string name : {"campus-48", "continents-48", "homes-48"}) {
        const Topology topology = load(name);
        int num_consumer = 0;
        for (const Device& device : topology.devices) {
            const std::string& kind = topology.kinds[device.kind].name;
            num_consumer += kind.starts_with("rtx") || kind.starts_with("gtx");
        }
        EXPECT_GE(num_consumer, 8) << name;
        EXPECT_LE(num_consumer, 40) << name;
    }
}

TEST(Testbeds, of_the_cloud_have_the_measured_links) {
    const Network network(load("cloud-48"));
    const DeviceId oregon(0);
    const DeviceId london(2 * 6);
    const DeviceId sydney(7 * 6 + 5);

    EXPECT_EQ(network.name(london, sydney), "london-sydney");
    EXPECT_EQ(network.link(london, sydney), (Link{0.131, 326 * mbit_per_s}));
    EXPECT_EQ(network.link(sydney, london), (Link{0.131, 326 * mbit_per_s}));
    EXPECT_EQ(network.link(oregon, london), (Link{0.068, 420 * mbit_per_s}));
}

TEST(Testbeds, give_every_pair_of_the_world_a_link_of_its_own_bandwidth) {
    for (const std::string name : {"continents-48", "cloud-48"}) {
        const TopologySpec spec =
            load_topology_spec(testbeds() / (name + ".toml"));
        const std::size_t num_sites = spec.sites.size();
        EXPECT_EQ(spec.links.size(), num_sites * (num_sites - 1)) << name;
    }
}

TEST(Testbeds, of_one_cluster_have_equal_devices_and_links) {
    const Topology topology = load("cluster");

    const auto all = bandwidths(topology);

    EXPECT_EQ(all.front(), 100'000 * mbit_per_s);
    EXPECT_EQ(all.back(), all.front());
    for (const Device& device : topology.devices) {
        EXPECT_EQ(device.kind, topology.devices[0].kind);
    }
}

TEST(Testbeds, round_trip_through_the_resolved_input) {
    for (const auto& entry : fs::directory_iterator(testbeds())) {
        if (entry.path().extension() == ".toml") {
            const RunInput input =
                parse_run_input("data.kind = 'synthetic'\n",
                                "/x.toml",
                                {"topology.file=" + entry.path().string()});
            ASSERT_FALSE(input.topology.spec.sites.empty());
            EXPECT_EQ(parse_run_input(to_toml(input), "/y.toml", {}), input)
                << entry.path();
        }
    }
}

TEST(Testbeds, know_what_their_devices_can_do) {
    for (const DeviceKind& kind :
         load_device_kinds(testbeds() / "devices/gpus.toml")) {
        EXPECT_GT(kind.memory_bytes, 0) << kind.name;
        EXPECT_GT(kind.memory_bandwidth_bytes_per_s, 1e11) << kind.name;
        for (std::size_t i = 0; i < num_op_kinds; ++i) {
            const bool is_view = static_cast<OpKind>(i) == OpKind::view;
            EXPECT_TRUE(is_view || kind.forward_efficiency[i] < 1)
                << kind.name << " " << to_text(static_cast<OpKind>(i));
        }
    }
}

}  // namespace
}  // namespace fusionllm::test
