#pragma once

#include <memory>

#include "fusionllm/data/text.hpp"
#include "fusionllm/data/tokenizer.hpp"
#include "fusionllm/graph/op_graph.hpp"

#include "app/run_input.hpp"

namespace fusionllm {

//! Of [data], e.g. to print what a model of its tokens writes. Reads the files.
std::shared_ptr<const Tokenizer> load_tokenizer(const DataSection& data);

//! Reads the files, or makes the data up, as the model's inputs take it. Throws
//! `InputError` if they cannot, or if [train] wants evaluations for which too
//! few samples are kept.
DatasetSplit load_data(const RunInput& input, const OpGraph& graph);

}  // namespace fusionllm
