#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace fusionllm {

//! One file of an archive, by where its bytes lie in the file on disk.
struct ZipEntry {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    std::uint32_t crc = 0;  //!< CRC-32 of the bytes
    //! As they lie in the file if they are compressed; 0: they are not.
    std::uint64_t packed_size = 0;
};

/*!
 * The directory of a zip file, or of a zip file that lies inside another one.
 *
 * PyTorch stores without compression, also an archive in an archive; so every
 * tensor is a range of the file on disk and is read from there when it is
 * wanted. That, and archives that nobody can trust, is what this reader is
 * for. Texts may be compressed (deflate, up to 64 MiB) and are then only read
 * as a whole; encrypted entries are refused, and names are keys only: nothing
 * is ever written to a disk. 64-bit sizes are understood.
 *
 * Memory: the directory. Throws `InputError` for a file that is no such
 * archive, whatever it holds.
 */
class ZipArchive {
public:
    explicit ZipArchive(const std::filesystem::path& file);

    const std::filesystem::path& file() const { return file_; }
    //! By name, without the one folder that all names begin with, if any.
    const std::map<std::string, ZipEntry>& entries() const { return entries_; }
    bool has(const std::string& name) const { return entries_.contains(name); }
    //! One that is not compressed. Throws `InputError` if there is none.
    const ZipEntry& find(const std::string& name) const;
    //! The whole entry, compared with its checksum.
    std::string read(const std::string& name) const;
    //! The entry as an archive of its own.
    ZipArchive open_inner(const std::string& name) const;

private:
    struct Range {
        std::uint64_t begin = 0;
        std::uint64_t size = 0;
    };
    ZipArchive(std::filesystem::path file, Range range);

    [[noreturn]] void fail(std::string_view why) const;
    std::string read_bytes(std::uint64_t offset, std::uint64_t size) const;
    Range find_directory(std::uint64_t& num_entries) const;
    Range find_long_directory(std::uint64_t end_record,
                              std::uint64_t& num_entries) const;
    std::size_t add_entry(std::string_view record);
    void check_packing(const std::string& name,
                       std::uint16_t flags,
                       std::uint16_t method,
                       std::uint64_t stored,
                       ZipEntry& entry) const;
    const ZipEntry& find_any(const std::string& name) const;
    void drop_common_folder();

    std::filesystem::path file_;
    Range range_;
    std::map<std::string, ZipEntry> entries_;
};

//! CRC-32 as in zip files (polynomial 0xEDB88320).
std::uint32_t crc32(std::string_view bytes);

}  // namespace fusionllm
