#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace fusionllm {

//! Whole file; throws `InputError` naming the file and the system's reason.
std::string read_file(const std::filesystem::path& file);

//! Write beside, fsync, rename: the file is the old or the new one, never half.
void write_file(const std::filesystem::path& file, std::string_view text);

//! fsync a file or folder; throws `Error`.
void sync_path(const std::filesystem::path& path);

}  // namespace fusionllm
