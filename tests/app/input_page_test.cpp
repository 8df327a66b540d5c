#include <map>

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/text.hpp"

#include "app/run_input.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;

//! "section" (once for each section) and "section.key" to the default.
using Defaults = std::map<std::string, std::string>;

Defaults defaults_of_the_program() {
    Defaults defaults;
    std::string section;
    for (const std::string& line : split(to_toml(RunInput{}), '\n')) {
        const std::size_t equals = line.find(" = ");
        if (line.starts_with("[")) {
            section = line.substr(1, line.size() - 2);
            defaults[section];
        } else if (!line.starts_with("#") && equals != std::string::npos) {
            defaults[section + "." + line.substr(0, equals)] =
                line.substr(equals + 3);
        }
    }
    return defaults;
}

//! The text between the first two back quotes.
std::string quoted(const std::string& cell) {
    const auto parts = split(cell, '`');
    return parts.size() < 3 ? "" : parts[1];
}

Defaults defaults_of_the_page() {
    Defaults defaults;
    std::string section;
    const fs::path page = fs::path(FUSIONLLM_SOURCE_DIR) / "docs/input.md";
    for (const std::string& line : split(read_file(page), '\n')) {
        if (line.starts_with("## `[")) {
            section = quoted(line).substr(1, quoted(line).size() - 2);
            defaults[section];
        } else if (line.starts_with("| `")) {
            const auto cells = split(line, '|');
            defaults[section + "." + quoted(cells.at(1))] = quoted(cells.at(3));
        }
    }
    return defaults;
}

TEST(InputPage, has_every_section_key_and_default_of_the_program) {
    EXPECT_EQ(defaults_of_the_page(), defaults_of_the_program());
}

TEST(TopologyPage, has_every_key_of_a_device_kind) {
    std::string keys;
    const fs::path page = fs::path(FUSIONLLM_SOURCE_DIR) / "docs/topology.md";
    for (const std::string& line : split(read_file(page), '\n')) {
        const bool is_key = line.starts_with("| `");
        if (is_key && quoted(line).find(".toml") == std::string::npos) {
            keys += (keys.empty() ? "" : ", ") + quoted(line);
        }
    }

    std::string error;
    try {
        parse_run_input("topology.device_kinds = [3]", "x.toml", {});
    } catch (const InputError& wrong) {
        error = wrong.what();
    }

    EXPECT_EQ(error,
              "x.toml:1: a device kind in 'device_kinds' in [topology] must be "
              "a table with " +
                  keys + ", not 3");
}

TEST(InputPage, describes_what_the_shipped_inputs_use) {
    int num_inputs = 0;

    for (const auto& entry :
         fs::directory_iterator(fs::path(FUSIONLLM_SOURCE_DIR) / "inputs")) {
        if (entry.path().extension() == ".toml") {
            EXPECT_NO_THROW(load_run_input(entry.path(), {})) << entry.path();
            ++num_inputs;
        }
    }

    EXPECT_GE(num_inputs, 1);
}

}  // namespace
}  // namespace fusionllm::test
