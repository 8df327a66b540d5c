#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fusionllm/topology/topology_spec.hpp"

#include "app/toml_value.hpp"

namespace fusionllm {

/*!
 * A topology file (docs/topology.md), with the kinds of its device files.
 * Throws `InputError` with file, line, what is wrong and the nearest right
 * spelling.
 */
TopologySpec load_topology_spec(const std::filesystem::path& file);

//! The kinds of a device file, as `device_file_text` writes it.
std::vector<DeviceKind> load_device_kinds(const std::filesystem::path& file);

//! A device file: reads back as equal kinds.
std::string device_file_text(const std::vector<DeviceKind>& kinds);

namespace detail {

//! Reads the keys that describe a topology, one by one in any order.
class TopologyReader {
public:
    //! Device files are relative to `folder`; `section` follows the names of
    //! keys in messages: " in [topology]" or nothing.
    TopologyReader(std::filesystem::path folder, std::string section);

    static const std::vector<std::string>& keys();
    void read(std::string_view key, const TomlValue& value);
    //! A key that was read, or none.
    std::optional<std::string> first_key() const;
    //! All together, checked by making the topology.
    TopologySpec finish();

private:
    void read_kinds(const TomlValue& value);
    void read_device_files(const TomlValue& value);
    void read_sites(const TomlValue& value);
    void read_links(const TomlValue& value);
    void read_matrix(const TomlValue& value);
    void add_link(std::string from,
                  std::string to,
                  const Link& link,
                  const std::string& place);
    std::string find_place(const TopologySpecError& error) const;

    std::filesystem::path folder_;
    std::string section_;
    std::vector<std::string> read_keys_;
    TopologySpec spec_;
    std::string default_link_place_;
    std::vector<std::string> kind_places_;
    std::vector<std::string> site_places_;
    std::vector<std::string> link_places_;
};

// As inline TOML tables that read back as equal values.
std::string show_toml(const DeviceKind& kind);
std::string show_toml(const SiteSpec& site);
std::string show_toml(const LinkSpec& link);
std::string show_toml(const Link& link);

}  // namespace detail
}  // namespace fusionllm
