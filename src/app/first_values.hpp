#pragma once

#include <filesystem>
#include <vector>

#include "fusionllm/exec/first_values.hpp"

#include "app/model.hpp"
#include "app/run_input.hpp"

namespace fusionllm {

//! The files that parameters and buffers start from, the first one that has
//! them; none if they are drawn.
std::vector<std::filesystem::path> first_values_files(const RunInput& input);

/*!
 * Reads the first value of a parameter or buffer, one by one: a rank reads its
 * own. Empty if they are drawn.
 *
 * The files are opened with the first value that is wanted; then `InputError`
 * is thrown if one is not there, or not the one that rank 0 read.
 */
InitialTensor make_first_values(const RunInput& input,
                                const ModelSource& source);

}  // namespace fusionllm
