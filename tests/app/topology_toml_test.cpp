#include "app/topology_toml.hpp"

#include <gtest/gtest.h>

#include "fusionllm/topology/network.hpp"
#include "fusionllm/util/file.hpp"

#include "app/run_input.hpp"
#include "message_of.hpp"
#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

RunInput parse(const std::string& topology) {
    return parse_run_input(
        "[data]\nkind = 'synthetic'\n[topology]\n" + topology,
        "/inputs/x.toml",
        {});
}

TopologySpec parse_spec(const std::string& topology) {
    return parse(topology).topology.spec;
}

//! Lines of the topology begin at 4.
std::string error_of(const std::string& topology) {
    return message_of<InputError>([&] { parse(topology); });
}

const std::string whole = R"(
device_kinds = [
    {name = "a100", fp32 = "19.5 Tflop/s", fp16 = "312 Tflop/s",
     memory = "40 GiB", memory_bandwidth = "1555 GB/s", cores = 108,
     op_overhead = "8 us", copy_bandwidth = "600 GB/s",
     update_bandwidth = "120 GB/s",
     efficiency = {contraction = 0.8, convolution = 0.6},
     backward_efficiency = {convolution = 0.55},
     measured = [{op = "aten::mm f32[2,3]", forward = "1 ms", backward = "2 ms"}]},
    {name = "t4", fp32 = "8.1 Tflop/s"},
]
sites = [
    {name = "lyon", devices = [{kind = "a100", count = 4, host = "l1"}, {kind = "t4"}],
     link = {bandwidth = "10 Gbit/s", latency = "50 us"},
     host_link = {bandwidth = "300 GB/s", latency = "5 us"},
     uplink = "1 Gbit/s", downlink = "2 Gbit/s"},
    {name = "graz", devices = [{kind = "t4", count = 2}]},
    {name = "osaka", devices = [{kind = "t4"}]},
]
links = [
    {between = ["lyon", "graz"], bandwidth = "100 Mbit/s", latency = "9 ms"},
    {from = "lyon", to = "osaka", bandwidth = "8 Mbit/s", latency = "0.1 s"},
    {between = ["graz-0", "graz-1"], bandwidth = "1 GB/s", latency = "1 us",
     rendezvous = {above = "64 KiB", latency = "2 us"}, within = 0.03},
]
default_link = {bandwidth = "20 Mbit/s", latency = "200 ms"}
)";

// Inline tables have one line each.
std::string joined(std::string text) {
    for (std::size_t at = text.find(",\n     "); at != std::string::npos;
         at = text.find(",\n     ")) {
        text.replace(at, 7, ", ");
    }
    return text;
}

TEST(TopologyToml, takes_all_that_can_be_said_of_a_kind) {
    const TopologySpec spec = parse_spec(joined(whole));

    ASSERT_EQ(spec.kinds.size(), 2u);
    DeviceKind a100;
    a100.name = "a100";
    a100.flops_per_s = 19.5e12;
    a100.half_flops_per_s = 312e12;
    a100.memory_bytes = 40.0 * (1 << 30);
    a100.memory_bandwidth_bytes_per_s = 1555e9;
    a100.cores = 108;
    a100.op_overhead_s = 8e-6;
    a100.copy_bytes_per_s = 600e9;
    a100.update_bytes_per_s = 120e9;
    a100.forward_efficiency[0] = a100.backward_efficiency[0] = 0.8;
    a100.forward_efficiency[1] = 0.6;
    a100.backward_efficiency[1] = 0.55;
    a100.measured = {{"aten::mm f32[2,3]", 1e-3, 2e-3}};
    EXPECT_EQ(spec.kinds[0], a100);
    EXPECT_EQ(spec.kinds[1].memory_bandwidth_bytes_per_s, 0)
        << "not known, rather than that of the default kind";
}

TEST(TopologyToml, takes_sites_with_devices_and_links) {
    const TopologySpec spec = parse_spec(joined(whole));

    ASSERT_EQ(spec.sites.size(), 3u);
    EXPECT_EQ(spec.sites[0].devices,
              (std::vector<DeviceSpec>{{"a100", 4, "l1"}, {"t4", 1, ""}}));
    EXPECT_EQ(spec.sites[0].link, (Link{50e-6, 1.25e9}));
    EXPECT_EQ(spec.sites[0].host_link, (Link{5e-6, 300e9}));
    EXPECT_EQ(spec.sites[0].uplink_bytes_per_s, 125e6);
    EXPECT_EQ(spec.sites[0].downlink_bytes_per_s, 250e6);
    EXPECT_EQ(spec.sites[1].link, default_site_link);
    const Link asked{1e-6, 1e9, 65536, 2e-6, 0.03};
    EXPECT_EQ(spec.links,
              (std::vector<LinkSpec>{{"lyon", "graz", {9e-3, 12.5e6}},
                                     {"graz", "lyon", {9e-3, 12.5e6}},
                                     {"lyon", "osaka", {0.1, 1e6}},
                                     {"graz-0", "graz-1", asked},
                                     {"graz-1", "graz-0", asked}}));
    EXPECT_EQ(spec.default_link, (Link{0.2, 2.5e6}));
    EXPECT_EQ(make_topology(spec).devices.size(), 8u);
}

TEST(TopologyToml, round_trips_through_the_resolved_input) {
    const RunInput input = parse(joined(whole));

    EXPECT_EQ(parse_run_input(to_toml(input), "/elsewhere/y.toml", {}), input)
        << to_toml(input);
}

TEST(TopologyToml, round_trips_numbers_that_no_one_would_write) {
    RunInput input = parse(joined(whole));
    TopologySpec& spec = input.topology.spec;
    spec.kinds[0].measured[0] = {"a \"quoted\\\" op", 1.0 / 3.0, 5e-324};
    spec.kinds[0].forward_efficiency[9] = 1.0 / 7.0;
    spec.kinds[0].flops_per_s = 1e11 / 3.0;
    spec.links[0].link = {
        1.0 / 3.0e5, 1e9 / 7.0, 1e5 / 3.0, 1.0 / 7.0, 2.0 / 3.0};
    spec.sites[0].uplink_bytes_per_s = 1e8 / 3.0;

    EXPECT_EQ(parse_run_input(to_toml(input), "/elsewhere/y.toml", {}), input);
}

TEST(TopologyToml, a_file_says_the_same_as_the_section) {
    const TemporaryFolder folder;
    write_file(folder.path() / "t.toml", joined(whole));

    EXPECT_EQ(load_topology_spec(folder.path() / "t.toml"),
              parse_spec(joined(whole)));
}

TEST(TopologyToml, takes_arrays_of_tables_too) {
    EXPECT_EQ(parse_spec("[[topology.sites]]\nname = 'a'\nranks = 2\n"
                         "[topology.sites.link]\nbandwidth = '1 Gbit/s'\n"
                         "latency = '1 ms'\n"),
              parse_spec("sites = [{name = 'a', ranks = 2, link = {bandwidth "
                         "= '1 Gbit/s', latency = '1 ms'}}]"));
}

TEST(TopologyToml, a_matrix_is_many_links) {
    const std::string sites =
        "sites = [{name = 'a', ranks = 1}, {name = 'b', ranks = 1}, {name = "
        "'c', ranks = 1}]\n";
    const TopologySpec spec =
        parse_spec(sites +
                   "[topology.matrix]\nsites = ['a', 'b', 'c']\n"
                   "bandwidth = [['-', '8 Mbit/s', '16 Mbit/s'],\n"
                   "['24 Mbit/s', '-', ''], ['', '', '']]\n"
                   "latency = [['', '1 ms', '2 ms'], ['', '', ''], "
                   "['4 ms', '', '']]\n");

    EXPECT_EQ(spec.links,
              (std::vector<LinkSpec>{{"a", "b", {1e-3, 1e6}},
                                     {"a", "c", {2e-3, 2e6}},
                                     {"b", "a", {1e-3, 3e6}},
                                     {"c", "a", {4e-3, 2e6}}}))
        << "what is not said is as in the other direction; b to c is not said "
           "at all";
}

TEST(TopologyToml, device_files_read_back_as_equal_kinds) {
    const TemporaryFolder folder;
    const auto kinds = parse_spec(joined(whole)).kinds;

    write_file(folder.path() / "d.toml", device_file_text(kinds));

    EXPECT_EQ(load_device_kinds(folder.path() / "d.toml"), kinds)
        << device_file_text(kinds);
}

TEST(TopologyToml, device_files_add_to_the_kinds) {
    const TemporaryFolder folder;
    write_file(folder.path() / "d.toml",
               "[[device_kinds]]\nname = 'mine'\nfp32 = '1 Tflop/s'\n");
    const std::string path = (folder.path() / "d.toml").string();

    const TopologySpec spec =
        parse_spec("device_files = ['" + path +
                   "']\nsites = [{name = 'a', devices = [{kind = 'mine'}]}]\n");

    EXPECT_EQ(make_topology(spec).kind_of(DeviceId(0)).name, "mine");
}

TEST(TopologyToml, says_what_is_wrong_and_where) {
    const std::string kinds =
        "device_kinds = [{name = 't4', fp32 = '8 Tflop/s'}]\n";
    const std::string sites =
        "sites = [{name = 'a', ranks = 1}, {name = 'b', ranks = 1}]\n";
    const std::string link =
        "default_link = {bandwidth = '1 MB/s', latency = '1 s', ";
    const struct {
        std::string topology, expected;
    } cases[] = {
        {"device_kinds = [{name = 't4', fp32 = 8.1}]",
         ":4: 'fp32' of a device kind in 'device_kinds' in [topology]: '8.1' "
         "has no unit, so it is not a speed; write it as in \"19.5 Tflop/s\""},
        {"device_kinds = [{name = 't4', fp23 = '8 Tflop/s'}]",
         ":4: unknown key 'fp23' of a device kind in 'device_kinds' in "
         "[topology]; did you mean 'fp32'?"},
        {"device_kinds = [{name = 't4'}]",
         ":4: a device kind in 'device_kinds' in [topology] needs 'fp32'"},
        {"device_kinds = [{name = 't4', fp32 = '8 Tflop/s', efficiency = "
         "{contration = 0.5}}]",
         ":4: unknown key 'contration' of 'efficiency' of a device kind in "
         "'device_kinds' in [topology]; did you mean 'contraction'?"},
        {"device_kinds = [{name = 't4', fp32 = '8 Tflop/s', efficiency = "
         "{view = 0}}]",
         ":4: device kind 't4' has an efficiency that is not above 0"},
        {"device_kinds = [{name = 't4', fp32 = '8 Tflop/s', cores = 0}]",
         "must be an integer between 1 and 1000000, not 0"},
        {"device_kinds = 't4'", "must be a list of device kinds like {name"},
        {kinds + "sites = [\n{name = 'a', devices = [{kind = 't5'}]}]",
         ":6: there is no device kind 't5'; did you mean 't4'?"},
        {"sites = [{name = 'a', devices = [{kid = 't4'}]}]",
         ":4: unknown key 'kid' of an item of 'devices' of a site in 'sites' "
         "in [topology]; did you mean 'kind'?"},
        {"sites = [{name = 'a', ranks = 1, uplink = '8 Mb/s'}]",
         ":4: 'uplink' of a site in 'sites' in [topology]: '8 Mb/s' has the "
         "unknown unit 'Mb/s'"},
        {"sites = [{name = 'a', ranks = 1, link = {bandwidth = '1 MB/s'}}]",
         ":4: 'link' of a site in 'sites' in [topology] needs 'latency'"},
        {sites + "links = [\n{between = ['a', 'c'], bandwidth = '1 MB/s', "
                 "latency = '1 s'}]",
         ":6: a link names 'c', which is neither a site nor a device"},
        {sites + "links = [{between = ['a'], bandwidth = '1 MB/s', latency = "
                 "'1 s'}]",
         ":5: a link in 'links' in [topology] has either between"},
        {sites + "links = [{from = 'a', bandwidth = '1 MB/s', latency = '1 "
                 "s'}]",
         ":5: a link in 'links' in [topology] needs 'to'"},
        {sites + link + "rendezvous = {above = '64 KiB'}}",
         ":5: 'rendezvous' of 'default_link' in [topology] needs 'latency'"},
        {sites + link + "rendezvous = '64 KiB'}",
         ":5: 'rendezvous' of 'default_link' in [topology] must be a table"},
        {sites + link + "withn = 0.1}", "did you mean 'within'?"},
        {sites + link + "within = '3%'}",
         ":5: 'within' of 'default_link' in [topology] must be a number"},
        {sites + link + "within = 3}",
         ":5: the default link was measured within 3; that is a share"},
        {sites + "default_link = {bandwidth = '0 MB/s', latency = '1 s'}",
         ":5: the default link has the bandwidth 0 B/s"},
        {sites + "[topology.matrix]\nsites = ['a', 'b']\nbandwidth = [['', '1 "
                 "MB/s'],\n['']]\nlatency = [['', ''], ['', '']]",
         ":8: 'bandwidth' of 'matrix' in [topology] must have 2 rows of 2 "
         "cells"},
        {sites + "[topology.matrix]\nsites = ['a', 'b']\nbandwidth = [['', '1 "
                 "MB/s'],['', '']]\nlatency = [['', ''], ['', '']]",
         ":8: a cell of 'latency' of 'matrix' in [topology]: '' is not a "
         "time"},
        {"device_files = [3]",
         ":4: 'device_files' in [topology] must be a list of paths in quotes, "
         "not 3"},
        {"site = []",
         ":4: unknown key 'site' in [topology]; did you mean "
         "'sites'?"},
    };

    for (const auto& [topology, expected] : cases) {
        const std::string error = error_of(topology);
        EXPECT_NE(error.find(expected), std::string::npos) << error;
        EXPECT_TRUE(error.starts_with("/inputs/x.toml:")) << error;
    }
}

}  // namespace
}  // namespace fusionllm::test
