#pragma once

#include <filesystem>
#include <vector>

#include "app/run_input.hpp"

namespace fusionllm {

//! What an input names to be read, and the input file itself unless that is
//! empty; not what its [topology] was read from.
std::vector<std::filesystem::path> list_input_files(
    const std::filesystem::path& file, const RunInput& input);

}  // namespace fusionllm
