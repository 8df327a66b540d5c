#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace fusionllm::detail {

//! A text file and its size when it was found.
struct TextFile {
    std::filesystem::path path;
    std::uint64_t num_bytes = 0;
};

/*!
 * The text files of files and folders: the paths as given, a folder's files
 * in the order of their relative paths' bytes, so that every machine sees the
 * same sequence. Throws `InputError` for a path that is missing, a named file
 * that is binary, or a folder without text.
 */
std::vector<TextFile> find_text_files(
    const std::vector<std::filesystem::path>& paths);

}  // namespace fusionllm::detail
