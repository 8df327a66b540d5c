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
 * To see that two hosts have the same large file: a hash of its size, of its
 * first and last MiB, where formats keep their directories and checksums, and
 * of 512 pieces of 4 KiB between, evenly spread.
 *
 * Weights of another training differ everywhere, so in some piece, even if only
 * tensors of a 500th of the file were trained. What it does not see is a few
 * changed bytes: archives of PyTorch have a checksum of every tensor for that,
 * which is looked at when the tensor is loaded. Reads 4 MiB: a hash of the
 * whole file would have each rank read all that the others load. Throws
 * `InputError` if the file cannot be read.
 */
std::uint64_t fingerprint_of(const std::filesystem::path& file);

//! Write beside, fsync, rename: the file is the old or the new one, never half.
void write_file(const std::filesystem::path& file, std::string_view text);

//! fsync a file or folder; throws `Error`.
void sync_path(const std::filesystem::path& path);

}  // namespace fusionllm
