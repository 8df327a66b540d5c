#include "fusionllm/runtime/shaping.hpp"

#include <limits>

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

constexpr double for_ever = std::numeric_limits<double>::infinity();

Network make_network() {
    SiteSpec lyon{"lyon", 2};
    lyon.uplink_bytes_per_s = 5e5;
    Topology topology = make_topology({lyon, {"osaka", 1}});
    for (Link& link : topology.site_links) {
        link = {0.1, 1e6, 65536, 0.2};
    }
    return Network(topology);
}

//! Ranks in another order than devices.
const std::vector<DeviceId> devices{DeviceId(2), DeviceId(0), DeviceId(1)};

TEST(Shaping, gives_ranks_the_links_of_their_devices) {
    const Network network = make_network();

    const ShapedLinks links = make_shaped_links(network, devices, {});

    ASSERT_EQ(links.num_ranks, 3);
    EXPECT_EQ(links.path(0, 1).latency_s, 0.1);
    EXPECT_EQ(links.path(0, 1).bytes_per_s, 1e6);
    EXPECT_EQ(links.path(1, 0).bytes_per_s, 5e5);  // the uplink
    EXPECT_EQ(links.path(1, 0).lines.size(), 2u);
    EXPECT_EQ(links.path(1, 2).lines.size(), 0u);
    EXPECT_EQ(links.path(1, 2).bytes_per_s,
              default_site_link.bandwidth_bytes_per_s);
}

TEST(Shaping, slows_everything_alike) {
    ShapeOptions options;
    options.time_scale = 4;
    options.jitter_s = 0.01;
    options.changes = {"lyon-osaka x0 at 2 s for 500 ms"};

    const ShapedLinks links =
        make_shaped_links(make_network(), devices, options);

    EXPECT_EQ(links.path(0, 1).latency_s, 0.4);
    EXPECT_EQ(links.path(0, 1).bytes_per_s, 2.5e5);
    EXPECT_EQ(links.path(0, 1).eager_bytes, 65536);
    EXPECT_EQ(links.path(0, 1).rendezvous_s, 0.8);
    EXPECT_EQ(links.jitter_s, 0.04);
    ASSERT_EQ(links.changes.size(), 2u);
    EXPECT_EQ(links.changes.front().begin_s, 8);
    EXPECT_EQ(links.changes.front().end_s, 10);
}

TEST(Shaping, changes_both_directions_of_a_line_or_an_uplink) {
    const Network network = make_network();
    const auto changes = [&](const std::string& text) {
        return make_shaped_links(network, devices, {1, 0, {text}, 1}).changes;
    };

    const auto both = changes("osaka-lyon x0.1 at 30 s");

    ASSERT_EQ(both.size(), 2u);
    for (const LineChange& change : both) {
        EXPECT_EQ(change.factor, 0.1);
        EXPECT_EQ(change.begin_s, 30);
        EXPECT_EQ(change.end_s, for_ever);
    }
}

TEST(Shaping, refuses_changes_that_make_no_sense) {
    const Network network = make_network();
    for (const auto& [text, needle] :
         std::vector<std::pair<std::string, std::string>>{
             {"lyon-osaka x0.1", "does not say when"},
             {"lyon-osaka at 3 s", "does not say when"},
             {"lyon-osaka 0.1 at 3 s", "where a factor"},
             {"lyon-osaka x2 at 3 s", "where a factor"},
             {"lyon-graz x0 at 3 s", "lyon-osaka"},
             {"lyon-osaka x0 at soon", "soon"}}) {
        try {
            make_shaped_links(network, devices, {1, 0, {text}, 1});
            ADD_FAILURE() << text;
        } catch (const InputError& error) {
            EXPECT_NE(std::string(error.what()).find(needle), std::string::npos)
                << error.what();
        }
    }
}

}  // namespace
}  // namespace fusionllm::test
