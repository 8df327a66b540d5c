#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace fusionllm {

//! Whole file; throws `InputError` naming the file and the system's reason.
std::string read_file(const std::filesystem::path& file);

/*!
 * Fill `into` with the file's bytes from `offset` on. Throws `InputError` if
 * the file cannot be read or has fewer.
 */
void read_file_part(const std::filesystem::path& file,
                    std::uint64_t offset,
                    std::span<std::byte> into);

/*!
 * To see that two hosts have the same large file: a hash of its size and of its
 * first and last MiB, where formats keep their directories and checksums.
 * Throws `InputError` if the file cannot be read.
 */
std::uint64_t fingerprint_of(const std::filesystem::path& file);

//! Write beside, fsync, rename: the file is the old or the new one, never half.
void write_file(const std::filesystem::path& file, std::string_view text);

//! fsync a file or folder; throws `Error`.
void sync_path(const std::filesystem::path& path);

}  // namespace fusionllm
