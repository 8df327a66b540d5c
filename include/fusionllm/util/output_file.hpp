#pragma once

#include <filesystem>
#include <vector>

namespace fusionllm {

/*!
 * Throws `InputError` if `output` is one of the files that are read to make it,
 * by this or another path: they would be lost. Other files may be written over.
 */
void check_output_file(const std::filesystem::path& output,
                       const std::vector<std::filesystem::path>& read);

}  // namespace fusionllm
