#include "fusionllm/runtime/shaping.hpp"

#include <limits>

#include <gtest/gtest.h>

#include "fusionllm/runtime/named_change.hpp"
#include "fusionllm/util/error.hpp"

#include "message_of.hpp"

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

TEST(Shaping, changes_lines_whose_names_have_blanks) {
    SiteSpec lab{"lab at home", 1};
    lab.uplink_bytes_per_s = 5e5;
    lab.downlink_bytes_per_s = 5e5;
    const Network network(make_topology({lab, {"box x2", 1}}));
    const auto changed = [&](const std::string& text) {
        const ShapedLinks links = make_shaped_links(
            network, {DeviceId(0), DeviceId(1)}, {1, 0, {text}, 1});
        std::vector<std::string> names;
        for (const LineChange& change : links.changes) {
            EXPECT_EQ(change.factor, 0.5);
            EXPECT_EQ(change.begin_s, 3);
            EXPECT_EQ(change.end_s, 5);
            names.push_back(
                network.line(LineId(static_cast<std::uint32_t>(change.line)))
                    .name);
        }
        return names;
    };
    using Names = std::vector<std::string>;

    EXPECT_EQ(changed("uplink of lab at home x0.5 at 3 s for 2 s"),
              Names{"uplink of lab at home"});
    EXPECT_EQ(changed("downlink of lab at home x0.5 at 3 s for 2 s"),
              Names{"downlink of lab at home"});
    EXPECT_EQ(changed("box x2-lab at home x0.5 at 3 s for 2 s"),
              (Names{"lab at home-box x2", "box x2-lab at home"}));
}

TEST(Shaping, refuses_changes_that_make_no_sense) {
    const Network network = make_network();
    for (const auto& [text, needle] :
         std::vector<std::pair<std::string, std::string>>{
             {"lyon-osaka x0.1", "does not say when"},
             {"lyon-osaka at 3 s", "has no factor"},
             {"lyon-osaka 0.1 at 3 s", "where a factor"},
             {"lyon-osaka x at 3 s", "where a factor"},
             {"lyon-osaka  at 3 s", "where a factor"},
             {" x0.1 at 3 s", "names no line"},
             {"lyon-osaka x2 at 3 s", "where a factor"},
             {"lyon-graz x0 at 3 s", "lyon-osaka"},
             {"downlink of lyon x0 at 3 s", "uplink of lyon, lyon-osaka"},
             {"lyon-osaka x0 at soon", "in [network] changes: 'soon'"},
             {"lyon-osaka x0 at 30", "in [network] changes: '30' has no unit"},
             {"lyon-osaka x0 at 3 s for 5",
              "in [network] changes: '5' has no unit"}}) {
        try {
            make_shaped_links(network, devices, {1, 0, {text}, 1});
            ADD_FAILURE() << text;
        } catch (const InputError& error) {
            EXPECT_NE(std::string(error.what()).find(needle), std::string::npos)
                << error.what();
            EXPECT_TRUE(std::string(error.what())
                            .starts_with("'" + text + "' in [network] changes"))
                << error.what();
        }
    }
}

TEST(Shaping, names_a_few_of_many_lines_and_the_nearest) {
    std::vector<SiteSpec> sites;
    for (int i = 0; i < 10; ++i) {
        sites.push_back({"home" + std::to_string(i), 1});
    }
    const Network network(make_topology(sites));

    const auto message = message_of<InputError>([&] {
        find_lines(network, parse_named_change("home8-hame9 x0 at 3 s"));
    });

    EXPECT_NE(message.find("home0-home8 and 82 more; did you mean "
                           "'home8-home9'?"),
              std::string::npos)
        << message;
}

}  // namespace
}  // namespace fusionllm::test
