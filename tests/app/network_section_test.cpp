// [network]: what its keys cannot say alone, found when the input is read.

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "app/run_input.hpp"
#include "message_of.hpp"

namespace fusionllm::test {
namespace {

std::string error_of(const std::string& keys,
                     const std::string& sites = "'lyon', 'osaka'") {
    std::string text = "data.kind = 'synthetic'\n[network]\n" + keys;
    text += "\n[topology]\nsites = [";
    for (std::size_t begin = sites.find('\''); begin != std::string::npos;) {
        const std::size_t end = sites.find('\'', begin + 1);
        text += "{name = " + sites.substr(begin, end + 1 - begin) +
                ", ranks = 1, uplink = '8 Mbit/s'}, ";
        begin = sites.find('\'', end + 1);
    }
    return message_of<InputError>(
        [&] { parse_run_input(text + "]\n", "x.toml", {}); });
}

TEST(NetworkSection, takes_changes_of_lines_of_the_topology) {
    EXPECT_EQ(error_of("mode = 'shaped'\n"
                       "changes = ['osaka-lyon x0.1 at 30 s', "
                       "'uplink of lyon x0 at 1 s for 5 s']"),
              "");
}

TEST(NetworkSection, names_the_place_of_a_wrong_change) {
    const std::string wrong = "mode = 'shaped'\nchanges = ";

    EXPECT_EQ(error_of(wrong + "['garbage']"),
              "x.toml:4: 'garbage' in [network] changes does not say when; "
              "write \"lyon-osaka x0.1 at 30 s\", or \"lyon-osaka x0 at 30 s "
              "for 5 s\"");
    EXPECT_EQ(error_of(wrong + "['lyon-graz x0 at 1 s']"),
              "x.toml:4: 'lyon-graz x0 at 1 s' in [network] changes names line "
              "'lyon-graz', which the topology does not have; its lines: "
              "uplink of lyon, uplink of osaka, lyon-osaka, osaka-lyon");
    EXPECT_EQ(error_of(wrong + "['lyon-osaka x0 at 1 s']", ""),
              "x.toml:4: 'lyon-osaka x0 at 1 s' in [network] changes names "
              "line 'lyon-osaka', but lines are between sites, and the "
              "topology has one only; name its sites in [topology]");
}

TEST(NetworkSection, refuses_what_has_no_effect_with_its_mode) {
    EXPECT_EQ(error_of("mode = 'emulated'\njitter = '5 s'"),
              "x.toml:4: 'jitter' in [network] has no effect with mode = "
              "\"emulated\"; set that to \"shaped\", or leave it out");
    EXPECT_EQ(error_of("changes = ['lyon-osaka x0 at 1 s']"),
              "x.toml:3: 'changes' in [network] has no effect with mode = "
              "\"none\"; set that to \"shaped\", or leave it out");
    EXPECT_EQ(error_of("jitter = '0 ms'\nchanges = []"), "");
}

}  // namespace
}  // namespace fusionllm::test
