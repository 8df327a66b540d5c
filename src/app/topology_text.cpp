#include <array>
#include <string>
#include <vector>

#include <fmt/ranges.h>

#include "fusionllm/util/units.hpp"

#include "app/toml_text.hpp"
#include "app/topology_toml.hpp"

namespace fusionllm {
namespace detail {
namespace {

//! "key = value" of what is not the default.
class Keys {
public:
    void add(const char* key, const std::string& value) {
        keys_.push_back(fmt::format("{} = {}", key, value));
    }
    void add_text(const char* key, const std::string& text) {
        add(key, toml_string(text));
    }
    //! 0 = not known, not there.
    void add_amount(const char* key,
                    double amount,
                    std::string (*write)(double)) {
        if (amount != 0) {
            add_text(key, write(amount));
        }
    }
    std::string join(const char* separator) const {
        return fmt::format("{}", fmt::join(keys_, separator));
    }
    std::string to_table() const { return "{" + join(", ") + "}"; }
    bool empty() const { return keys_.empty(); }

private:
    std::vector<std::string> keys_;
};

using Efficiency = std::array<double, num_op_kinds>;

void add_efficiency(Keys& keys,
                    const char* key,
                    const Efficiency& efficiency,
                    const Efficiency& otherwise) {
    Keys table;
    for (std::size_t i = 0; i < num_op_kinds; ++i) {
        if (efficiency[i] != otherwise[i]) {
            table.add(std::string(to_text(static_cast<OpKind>(i))).c_str(),
                      toml_float(efficiency[i]));
        }
    }
    if (!table.empty()) {
        keys.add(key, table.to_table());
    }
}

//! Lines in a list may be broken, those in a table not.
std::string list_of(const std::vector<std::string>& items) {
    return fmt::format("[\n        {},\n    ]",
                       fmt::join(items, ",\n        "));
}

Keys keys_of(const DeviceKind& kind) {
    Keys keys;
    keys.add_text("name", kind.name);
    keys.add_text("fp32", write_flops_per_s(kind.flops_per_s));
    keys.add_amount("fp16", kind.half_flops_per_s, write_flops_per_s);
    keys.add_amount("memory", kind.memory_bytes, write_bytes);
    keys.add_amount("memory_bandwidth",
                    kind.memory_bandwidth_bytes_per_s,
                    write_bytes_per_s);
    if (kind.cores != 0) {
        keys.add("cores", std::to_string(kind.cores));
    }
    keys.add_amount("op_overhead", kind.op_overhead_s, write_seconds);
    keys.add_amount("copy_bandwidth", kind.copy_bytes_per_s, write_bytes_per_s);
    keys.add_amount(
        "update_bandwidth", kind.update_bytes_per_s, write_bytes_per_s);
    add_efficiency(keys,
                   "efficiency",
                   kind.forward_efficiency,
                   DeviceKind().forward_efficiency);
    add_efficiency(keys,
                   "backward_efficiency",
                   kind.backward_efficiency,
                   kind.forward_efficiency);
    std::vector<std::string> measured;
    for (const MeasuredOp& op : kind.measured) {
        Keys table;
        table.add_text("op", op.signature);
        table.add_text("forward", write_seconds(op.forward_s));
        table.add_text("backward", write_seconds(op.backward_s));
        measured.push_back(table.to_table());
    }
    if (!measured.empty()) {
        keys.add("measured", list_of(measured));
    }
    return keys;
}

Keys keys_of(const Link& link) {
    Keys keys;
    keys.add_text("bandwidth", write_bits_per_s(link.bandwidth_bytes_per_s));
    keys.add_text("latency", write_seconds(link.latency_s));
    if (link.rendezvous_s != 0 || link.eager_bytes != 0) {
        Keys step;
        step.add_text("above", write_bytes(link.eager_bytes));
        step.add_text("latency", write_seconds(link.rendezvous_s));
        keys.add("rendezvous", step.to_table());
    }
    if (link.within != 0) {
        keys.add("within", toml_float(link.within));
    }
    return keys;
}

std::string show_devices(const DeviceSpec& devices) {
    Keys keys;
    keys.add_text("kind", devices.kind);
    if (devices.count != 1) {
        keys.add("count", std::to_string(devices.count));
    }
    if (!devices.host.empty()) {
        keys.add_text("host", devices.host);
    }
    return keys.to_table();
}

}  // namespace

std::string show_toml(const DeviceKind& kind) {
    return keys_of(kind).to_table();
}

std::string show_toml(const Link& link) {
    return keys_of(link).to_table();
}

std::string show_toml(const LinkSpec& link) {
    Keys keys;
    keys.add_text("from", link.from);
    keys.add_text("to", link.to);
    return fmt::format(
        "{{{}, {}}}", keys.join(", "), keys_of(link.link).join(", "));
}

std::string show_toml(const SiteSpec& site) {
    Keys keys;
    keys.add_text("name", site.name);
    if (site.ranks != 0) {
        keys.add("ranks", std::to_string(site.ranks));
    }
    if (!site.devices.empty()) {
        std::vector<std::string> items;
        for (const DeviceSpec& devices : site.devices) {
            items.push_back(show_devices(devices));
        }
        keys.add(
            "devices",
            items.size() == 1 ? "[" + items.front() + "]" : list_of(items));
    }
    if (site.link != SiteSpec().link) {
        keys.add("link", show_toml(site.link));
    }
    if (site.host_link) {
        keys.add("host_link", show_toml(*site.host_link));
    }
    keys.add_amount("uplink", site.uplink_bytes_per_s, write_bits_per_s);
    keys.add_amount("downlink", site.downlink_bytes_per_s, write_bits_per_s);
    return keys.to_table();
}

}  // namespace detail

std::string device_file_text(const std::vector<DeviceKind>& kinds) {
    std::string text;
    for (const DeviceKind& kind : kinds) {
        text += fmt::format("{}[[device_kinds]]\n{}\n",
                            text.empty() ? "" : "\n",
                            detail::keys_of(kind).join("\n"));
    }
    return text;
}

}  // namespace fusionllm
