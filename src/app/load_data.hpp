#pragma once

#include <memory>

#include "fusionllm/data/text.hpp"
#include "fusionllm/data/tokenizer.hpp"

#include "app/run_input.hpp"

namespace fusionllm {

//! Of [data], e.g. to print what a model of its tokens writes. Reads the files.
std::shared_ptr<const Tokenizer> load_tokenizer(const DataSection& data);

//! Reads the files, or makes the data up.
DatasetSplit load_data(const RunInput& input);

}  // namespace fusionllm
