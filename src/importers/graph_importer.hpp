#pragma once

#include <map>
#include <string>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"
#include "fusionllm/importers/weight_source.hpp"

#include "exported_program.hpp"

namespace fusionllm::detail {

struct ImportedGraph {
    OpGraph graph;
    std::map<std::string, std::string> shared_names;
    std::map<std::string, std::int64_t> counters;
    std::vector<std::string> notes;
};

//! What `import_pt2` promises of its graph; `weights` by the model's names.
ImportedGraph import_graph(
    const std::string& name,
    const ExportedProgram& program,
    const std::map<std::string, WeightLocation>& weights);

//! " (File \"model.py\", line 3, in forward ...)" or nothing.
std::string where(const ExportedNode& node);

//! "aten::linear" and "" from "torch.ops.aten.linear.default"; throws
//! `InputError` for what is no ATen operator.
std::pair<std::string, std::string> split_target(const ExportedNode& node);

}  // namespace fusionllm::detail
