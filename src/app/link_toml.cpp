#include "app/link_toml.hpp"

#include <fmt/core.h>

#include "fusionllm/util/units.hpp"

namespace fusionllm::detail {

const std::vector<std::string>& link_keys() {
    static const std::vector<std::string> keys{
        "bandwidth", "latency", "rendezvous", "within"};
    return keys;
}

Link read_link(const TableReader& table) {
    Link link{table.read_quantity("latency", parse_seconds),
              table.read_quantity("bandwidth", parse_bytes_per_s)};
    if (const TomlValue* value = table.find("rendezvous")) {
        const TableReader step(
            *value, "'rendezvous' of " + table.what(), {"above", "latency"});
        link.eager_bytes = step.read_quantity("above", parse_bytes);
        link.rendezvous_s = step.read_quantity("latency", parse_seconds);
    }
    if (table.has("within")) {
        link.within = table.read_number("within");
    }
    return link;
}

Link read_link(const TomlValue& value, const std::string& what) {
    return read_link(TableReader(value, what, link_keys()));
}

}  // namespace fusionllm::detail
