#include "app/probe_sites.hpp"

#include <set>

#include <gtest/gtest.h>

#include "fusionllm/util/file.hpp"

#include "app/topology_toml.hpp"
#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

MeasuredLink measured(int from, int to, double latency_s, double bytes_per_s) {
    MeasuredLink link;
    link.from = from;
    link.to = to;
    link.latency_s = latency_s;
    link.bytes_per_s = bytes_per_s;
    link.error = 0.0192;
    return link;
}

TEST(ProbeSites, are_the_hosts_where_the_input_names_none) {
    const ProbeSites sites = make_probe_sites(RunInput(), {"a", "b", "a", "c"});

    EXPECT_EQ(sites.site_of_rank, (std::vector<int>{0, 1, 0, 2}));
    EXPECT_EQ(sites.spec.sites,
              (std::vector<SiteSpec>{{"a", 2}, {"b", 1}, {"c", 1}}));
}

TEST(ProbeSites, are_numbered_where_a_host_is_called_as_a_device) {
    const ProbeSites sites =
        make_probe_sites(RunInput(), {"gpu", "gpu", "gpu-1"});

    EXPECT_EQ(sites.spec.sites,
              (std::vector<SiteSpec>{{"gpu.2", 2}, {"gpu-1", 1}}));
    EXPECT_EQ(sites.site_of_rank, (std::vector<int>{0, 0, 1}));
    EXPECT_EQ(sites.device_of_rank,
              (std::vector<DeviceId>{DeviceId(0), DeviceId(1), DeviceId(2)}));

    // And where the next name is another host's, or has a device of one.
    EXPECT_EQ(make_probe_sites(RunInput(), {"gpu-0", "gpu", "gpu.2"})
                  .spec.sites.at(1)
                  .name,
              "gpu.3");
    EXPECT_EQ(make_probe_sites(RunInput(), {"gpu-0", "gpu", "gpu.2-0"})
                  .spec.sites.at(1)
                  .name,
              "gpu.3");
    EXPECT_EQ(make_probe_sites(RunInput(), {"gpu-1", "gpu", "gpu-2"})
                  .spec.sites.at(1)
                  .name,
              "gpu");
}

TEST(ProbeSites, meet_by_their_first_ranks_and_never_twice_in_a_round) {
    const ProbeSites sites =
        make_probe_sites(RunInput(), {"a", "a", "b", "c", "c", "d", "e"});

    std::set<std::pair<int, int>> met;
    for (const auto& round : make_probe_rounds(sites)) {
        std::set<int> busy;
        for (const auto& [a, b] : round) {
            EXPECT_TRUE(busy.insert(a).second && busy.insert(b).second);
            EXPECT_TRUE(met.insert({std::min(a, b), std::max(a, b)}).second);
        }
    }
    EXPECT_EQ(met,
              (std::set<std::pair<int, int>>{{0, 2},
                                             {0, 3},
                                             {0, 5},
                                             {0, 6},
                                             {2, 3},
                                             {2, 5},
                                             {2, 6},
                                             {3, 5},
                                             {3, 6},
                                             {5, 6},
                                             {0, 1},
                                             {3, 4}}));
}

TEST(ProbeSites, put_what_was_measured_in_place_of_what_was_given) {
    RunInput input;
    SiteSpec lyon{"lyon", 2};
    lyon.uplink_bytes_per_s = 1e6;
    input.topology.spec.sites = {lyon, {"osaka", 1}};
    input.topology.spec.links = {{"lyon", "osaka", {1, 1}},
                                 {"lyon-1", "osaka-0", {2, 2}}};
    const ProbeSites sites = make_probe_sites(input, {"l1", "l2", "o"});

    std::vector<MeasuredLink> links{measured(0, 1, 2e-5, 4e9),
                                    measured(1, 0, 3e-5, 5e9),
                                    measured(0, 2, 0.02512345, 1e6),
                                    measured(2, 0, 0.026, 2e6)};
    for (const std::size_t asks : {0, 2}) {
        links[asks].eager_bytes = 4096;
        links[asks].rendezvous_s = 4e-5;
    }
    links[1].error = 0.3;

    const TopologySpec spec = with_measured_links(sites, links);

    EXPECT_EQ(
        spec.links,
        (std::vector<LinkSpec>{{"lyon-1", "osaka-0", {2, 2}},
                               {"lyon", "osaka", {0.0251, 1e6, 0, 0, 0.02}},
                               {"osaka", "lyon", {0.026, 2e6, 0, 0, 0.02}}}));
    EXPECT_EQ(spec.sites[0].link, (Link{3e-5, 4e9, 4096, 4e-5, 0.3}));
    EXPECT_EQ(spec.sites[0].uplink_bytes_per_s, 1e6);
}

TEST(ProbeSites, write_a_topology_file_that_says_how_far_to_trust_it) {
    const ProbeSites sites = make_probe_sites(RunInput(), {"a", "a", "b"});
    const std::vector<MeasuredLink> links{measured(0, 1, 1e-5, 5e9),
                                          measured(1, 0, 1e-5, 5e9),
                                          measured(0, 2, 0.025, 1e6),
                                          measured(2, 0, 0.026, 2e6)};

    const std::string text = probed_topology_text(sites, links);

    const TemporaryFolder folder;
    write_file(folder.path() / "topology.toml", text);
    EXPECT_EQ(load_topology_spec(folder.path() / "topology.toml"),
              with_measured_links(sites, links));
    EXPECT_NE(text.find(R"(bandwidth = "16 Mbit/s", latency = "26 ms", )"
                        "within = 0.02}"),
              std::string::npos)
        << text;
}

}  // namespace
}  // namespace fusionllm::test
