#pragma once

#include <string>
#include <vector>

#include "fusionllm/topology/topology.hpp"

#include "app/table_reader.hpp"

namespace fusionllm::detail {

//! The keys that say how fast a link is; those of its ends come on top.
const std::vector<std::string>& link_keys();

//! Of a table that may have others too.
Link read_link(const TableReader& table);
//! Of a table of these alone; `what` is its name in messages.
Link read_link(const TomlValue& value, const std::string& what);

}  // namespace fusionllm::detail
