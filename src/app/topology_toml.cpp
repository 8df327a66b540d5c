#include "app/topology_toml.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/text.hpp"
#include "fusionllm/util/units.hpp"

#include "app/link_toml.hpp"
#include "app/table_reader.hpp"

namespace fusionllm {
namespace detail {
namespace {

namespace fs = std::filesystem;

constexpr int max_ranks = 1'000'000;
constexpr int max_cores = 1'000'000;

std::vector<std::string> op_kind_names() {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < num_op_kinds; ++i) {
        names.emplace_back(to_text(static_cast<OpKind>(i)));
    }
    return names;
}

void read_efficiency(const TableReader& kind,
                     std::string_view key,
                     std::array<double, num_op_kinds>& efficiency) {
    const TomlValue* value = kind.find(key);
    if (value == nullptr) {
        return;
    }
    const auto names = op_kind_names();
    const TableReader table(
        *value, fmt::format("'{}' of {}", key, kind.what()), names);
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (table.has(names[i])) {
            efficiency[i] = table.read_number(names[i]);
        }
    }
}

std::vector<MeasuredOp> read_measured(const TableReader& kind) {
    std::vector<MeasuredOp> ops;
    if (const TomlValue* value = kind.find("measured")) {
        const std::string name = fmt::format("'measured' of {}", kind.what());
        for (const TomlValue& item : read_list(*value, name, "ops")) {
            const TableReader op(
                item, "an op in " + name, {"op", "forward", "backward"});
            ops.push_back({op.read_text("op"),
                           op.read_quantity("forward", parse_seconds),
                           op.read_quantity("backward", parse_seconds)});
        }
    }
    return ops;
}

DeviceKind read_kind(const TomlValue& value, const std::string& list) {
    const TableReader table(value,
                            "a device kind in " + list,
                            {"name",
                             "fp32",
                             "fp16",
                             "memory",
                             "memory_bandwidth",
                             "cores",
                             "op_overhead",
                             "copy_bandwidth",
                             "update_bandwidth",
                             "efficiency",
                             "backward_efficiency",
                             "measured"});
    DeviceKind kind;
    kind.name = table.read_text("name");
    kind.flops_per_s = table.read_quantity("fp32", parse_flops_per_s);
    table.read_quantity("fp16", parse_flops_per_s, kind.half_flops_per_s);
    table.read_quantity("memory", parse_bytes, kind.memory_bytes);
    kind.memory_bandwidth_bytes_per_s = 0;
    table.read_quantity("memory_bandwidth",
                        parse_bytes_per_s,
                        kind.memory_bandwidth_bytes_per_s);
    if (table.has("cores")) {
        kind.cores =
            static_cast<int>(table.read_integer("cores", 1, max_cores));
    }
    table.read_quantity("op_overhead", parse_seconds, kind.op_overhead_s);
    table.read_quantity(
        "copy_bandwidth", parse_bytes_per_s, kind.copy_bytes_per_s);
    table.read_quantity(
        "update_bandwidth", parse_bytes_per_s, kind.update_bytes_per_s);
    read_efficiency(table, "efficiency", kind.forward_efficiency);
    kind.backward_efficiency = kind.forward_efficiency;
    read_efficiency(table, "backward_efficiency", kind.backward_efficiency);
    kind.measured = read_measured(table);
    return kind;
}

DeviceSpec read_devices(const TomlValue& value, const std::string& what) {
    const TableReader table(value, what, {"kind", "count", "host"});
    DeviceSpec devices{table.read_text("kind")};
    if (table.has("count")) {
        devices.count =
            static_cast<int>(table.read_integer("count", 1, max_ranks));
    }
    if (table.has("host")) {
        devices.host = table.read_text("host");
    }
    return devices;
}

SiteSpec read_site(const TomlValue& value, const std::string& list) {
    const TableReader table(value,
                            "a site in " + list,
                            {"name",
                             "ranks",
                             "devices",
                             "link",
                             "host_link",
                             "uplink",
                             "downlink"});
    SiteSpec site{table.read_text("name")};
    FUSIONLLM_VALIDATE(table.has("ranks") || table.has("devices"),
                       "{}: site '{}' in {} needs 'ranks', how many equal "
                       "devices it has, or 'devices' as in devices = [{{kind "
                       "= \"a100\", count = 2}}]",
                       value.place,
                       site.name,
                       list);
    if (table.has("ranks")) {
        site.ranks =
            static_cast<int>(table.read_integer("ranks", 1, max_ranks));
    }
    if (const TomlValue* devices = table.find("devices")) {
        const std::string name = "'devices' of " + table.what();
        for (const TomlValue& item : read_list(*devices, name, "devices")) {
            site.devices.push_back(read_devices(item, "an item of " + name));
        }
    }
    if (const TomlValue* link = table.find("link")) {
        site.link = read_link(*link, "'link' of " + table.what());
    }
    if (const TomlValue* link = table.find("host_link")) {
        site.host_link = read_link(*link, "'host_link' of " + table.what());
    }
    table.read_quantity("uplink", parse_bytes_per_s, site.uplink_bytes_per_s);
    table.read_quantity(
        "downlink", parse_bytes_per_s, site.downlink_bytes_per_s);
    return site;
}

//! A square matrix of texts; "" and "-" are cells that say nothing.
class Matrix {
public:
    Matrix(const TableReader& table, const std::string& key, std::size_t size)
        : name_(fmt::format("'{}' of {}", key, table.what())) {
        const TomlValue& value = table.require(key);
        rows_ = &read_list(value, name_, "rows");
        for (const TomlValue& row : *rows_) {
            check_size(
                read_list(row, "a row of " + name_, "texts"), row.place, size);
        }
        check_size(*rows_, value.place, size);
    }

    bool has(std::size_t a, std::size_t b) const {
        const auto* text = cell(a, b).get<std::string>();
        return text == nullptr || (*text != "" && *text != "-");
    }
    //! From a to b, or if that is not given from b to a.
    double read(std::size_t a,
                std::size_t b,
                TableReader::ParseQuantity parse) const {
        return parse_quantity(
            has(a, b) ? cell(a, b) : cell(b, a), "a cell of " + name_, parse);
    }
    const std::string& place(std::size_t a) const { return (*rows_)[a].place; }

private:
    const TomlValue& cell(std::size_t a, std::size_t b) const {
        return (*(*rows_)[a].get<TomlValue::List>())[b];
    }
    void check_size(const TomlValue::List& list,
                    const std::string& place,
                    std::size_t size) const {
        FUSIONLLM_VALIDATE(list.size() == size,
                           "{}: {} must have {} rows of {} cells, one for "
                           "each of 'sites', but here are {}",
                           place,
                           name_,
                           size,
                           size,
                           list.size());
    }

    std::string name_;
    const TomlValue::List* rows_;
};

}  // namespace

TopologyReader::TopologyReader(fs::path folder, std::string section)
    : folder_(std::move(folder)), section_(std::move(section)) {}

const std::vector<std::string>& TopologyReader::keys() {
    static const std::vector<std::string> keys{"device_files",
                                               "device_kinds",
                                               "sites",
                                               "links",
                                               "matrix",
                                               "default_link"};
    return keys;
}

void TopologyReader::read(std::string_view key, const TomlValue& value) {
    read_keys_.emplace_back(key);
    if (key == "device_files") {
        read_device_files(value);
    } else if (key == "device_kinds") {
        read_kinds(value);
    } else if (key == "sites") {
        read_sites(value);
    } else if (key == "links") {
        read_links(value);
    } else if (key == "matrix") {
        read_matrix(value);
    } else {
        FUSIONLLM_EXPECTS(key == "default_link");
        spec_.default_link = read_link(value, "'default_link'" + section_);
        default_link_place_ = value.place;
    }
}

std::optional<std::string> TopologyReader::first_key() const {
    return read_keys_.empty() ? std::nullopt
                              : std::optional(read_keys_.front());
}

void TopologyReader::read_kinds(const TomlValue& value) {
    const std::string name = "'device_kinds'" + section_;
    for (const TomlValue& item :
         read_list(value,
                   name,
                   "device kinds like {name = \"a100\", fp32 = \"19.5 "
                   "Tflop/s\"}")) {
        spec_.kinds.push_back(read_kind(item, name));
        kind_places_.push_back(item.place);
    }
}

void TopologyReader::read_device_files(const TomlValue& value) {
    const std::string name = "'device_files'" + section_;
    for (const TomlValue& item : read_list(value, name, "paths in quotes")) {
        const auto* path = item.get<std::string>();
        FUSIONLLM_VALIDATE(path != nullptr,
                           "{}: {} must be a list of paths in quotes, not {}",
                           item.place,
                           name,
                           describe(item));
        const fs::path file = (folder_ / *path).lexically_normal();
        FUSIONLLM_VALIDATE(fs::exists(file),
                           "{}: {} names '{}', which does not exist; paths "
                           "are relative to the file that names them",
                           item.place,
                           name,
                           file.string());
        for (DeviceKind& kind : load_device_kinds(file)) {
            spec_.kinds.push_back(std::move(kind));
            kind_places_.push_back(file.string());
        }
    }
}

void TopologyReader::read_sites(const TomlValue& value) {
    const std::string name = "'sites'" + section_;
    for (const TomlValue& item :
         read_list(value, name, "sites like {name = \"lyon\", ranks = 2}")) {
        spec_.sites.push_back(read_site(item, name));
        site_places_.push_back(item.place);
    }
}

void TopologyReader::read_links(const TomlValue& value) {
    const std::string name = "'links'" + section_;
    std::vector<std::string> keys{"between", "from", "to"};
    keys.insert(keys.end(), link_keys().begin(), link_keys().end());
    for (const TomlValue& item :
         read_list(value,
                   name,
                   "links like {between = [\"lyon\", \"graz\"], bandwidth = "
                   "\"1 Gbit/s\", latency = \"9 ms\"}")) {
        const TableReader table(item, "a link in " + name, keys);
        const Link link = read_link(table);
        if (!table.has("between")) {
            add_link(table.read_text("from"),
                     table.read_text("to"),
                     link,
                     item.place);
            continue;
        }
        const auto ends = table.read_texts("between");
        FUSIONLLM_VALIDATE(
            ends.size() == 2 && !table.has("from") && !table.has("to"),
            "{}: {} has either between = [\"a\", \"b\"] with two names, for "
            "both directions, or 'from' and 'to'",
            item.place,
            table.what());
        add_link(ends[0], ends[1], link, item.place);
        add_link(ends[1], ends[0], link, item.place);
    }
}

void TopologyReader::read_matrix(const TomlValue& value) {
    const auto* entries = value.get<TomlValue::Table>();
    if (entries != nullptr && entries->empty()) {
        return;
    }
    const TableReader table(
        value, "'matrix'" + section_, {"sites", "bandwidth", "latency"});
    const auto names = table.read_texts("sites");
    const Matrix bandwidth(table, "bandwidth", names.size());
    const Matrix latency(table, "latency", names.size());
    for (std::size_t a = 0; a < names.size(); ++a) {
        for (std::size_t b = 0; b < names.size(); ++b) {
            const bool is_given = bandwidth.has(a, b) || bandwidth.has(b, a) ||
                                  latency.has(a, b) || latency.has(b, a);
            if (a != b && is_given) {
                add_link(names[a],
                         names[b],
                         {latency.read(a, b, parse_seconds),
                          bandwidth.read(a, b, parse_bytes_per_s)},
                         bandwidth.place(a));
            }
        }
    }
}

void TopologyReader::add_link(std::string from,
                              std::string to,
                              const Link& link,
                              const std::string& place) {
    spec_.links.push_back({std::move(from), std::move(to), link});
    link_places_.push_back(place);
}

std::string TopologyReader::find_place(const TopologySpecError& error) const {
    switch (error.part()) {
        case TopologySpecError::Part::kinds:
            return kind_places_.at(error.index());
        case TopologySpecError::Part::sites:
            return site_places_.at(error.index());
        case TopologySpecError::Part::links:
            return link_places_.at(error.index());
        case TopologySpecError::Part::default_link:
            break;
    }
    return default_link_place_;
}

TopologySpec TopologyReader::finish() {
    TopologySpec whole = spec_;
    if (whole.sites.empty()) {
        SiteSpec& site = whole.sites.emplace_back(SiteSpec{"local"});
        site.ranks = spec_.kinds.empty() ? 1 : 0;
        for (const DeviceKind& kind : spec_.kinds) {
            site.devices.push_back({kind.name});
        }
    }
    try {
        make_topology(whole);
    } catch (const TopologySpecError& error) {
        throw InputError(
            fmt::format("{}: {}", find_place(error), error.what()));
    }
    return std::move(spec_);
}

}  // namespace detail

namespace {

//! Reads a whole file of these keys, of which one must be there.
detail::TopologyReader read_whole(const std::filesystem::path& file,
                                  const std::vector<std::string>& keys,
                                  const std::string& what,
                                  const std::string& needed) {
    const auto root = detail::parse_toml(read_file(file), file.string());
    detail::TopologyReader reader(file.parent_path(), "");
    for (const detail::TomlEntry& entry :
         *root.get<detail::TomlValue::Table>()) {
        FUSIONLLM_VALIDATE(std::ranges::find(keys, entry.key) != keys.end(),
                           "{}: unknown key '{}' in {}{}",
                           entry.place,
                           entry.key,
                           what,
                           did_you_mean(entry.key, keys));
        reader.read(entry.key, entry.value);
    }
    FUSIONLLM_VALIDATE(root.find(needed) != nullptr,
                       "{}: {} needs the key '{}'",
                       file.string(),
                       what,
                       needed);
    return reader;
}

}  // namespace

TopologySpec load_topology_spec(const std::filesystem::path& file) {
    return read_whole(
               file, detail::TopologyReader::keys(), "a topology", "sites")
        .finish();
}

std::vector<DeviceKind> load_device_kinds(const std::filesystem::path& file) {
    return read_whole(file, {"device_kinds"}, "a device file", "device_kinds")
        .finish()
        .kinds;
}

}  // namespace fusionllm
