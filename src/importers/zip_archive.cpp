#include "fusionllm/importers/zip_archive.hpp"

#include <algorithm>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "bytes.hpp"
#include "zip_bytes.hpp"

namespace fusionllm {
namespace {

using detail::little_endian;

constexpr std::uint32_t end_signature = 0x06054b50;
constexpr std::uint32_t long_locator_signature = 0x07064b50;
constexpr std::uint32_t long_end_signature = 0x06064b50;
constexpr std::uint32_t directory_signature = 0x02014b50;
constexpr std::uint32_t local_signature = 0x04034b50;
constexpr std::size_t end_size = 22;
constexpr std::size_t long_locator_size = 20;
constexpr std::size_t long_end_size = 56;
constexpr std::size_t directory_entry_size = 46;
constexpr std::size_t local_size = 30;
constexpr std::size_t max_comment = 0xffff;
constexpr std::uint64_t most_unpacked = std::uint64_t{1} << 26;
constexpr std::uint32_t see_long = 0xffffffff;

std::uint64_t size_of_file(const std::filesystem::path& file) {
    std::error_code error;
    const std::uint64_t size = std::filesystem::file_size(file, error);
    FUSIONLLM_VALIDATE(!error,
                       "cannot read '{}': {}; give the path of an archive",
                       file.string(),
                       error.message());
    return size;
}

//! No name leads out of a folder, were it ever unpacked.
bool is_plain_name(std::string_view name) {
    return !name.empty() && name.front() != '/' && name.back() != '/' &&
           name.find('\\') == std::string_view::npos &&
           name.find('\0') == std::string_view::npos &&
           ("/" + std::string(name) + "/").find("/../") == std::string::npos;
}

//! Replace what does not fit into 32 bits by what the extra field says.
void take_long_sizes(std::string_view extra,
                     std::uint64_t& size,
                     std::uint64_t& compressed_size,
                     std::uint64_t& offset) {
    constexpr std::size_t head = 4;
    while (extra.size() >= head) {
        const auto id = little_endian<std::uint16_t>(extra, 0);
        const auto length = little_endian<std::uint16_t>(extra, 2);
        std::string_view field = extra.substr(head);
        field = field.substr(0, std::min<std::size_t>(length, field.size()));
        if (id == 1) {
            for (std::uint64_t* number : {&size, &compressed_size, &offset}) {
                if (*number == see_long && field.size() >= 8) {
                    *number = little_endian<std::uint64_t>(field, 0);
                    field.remove_prefix(8);
                }
            }
            return;
        }
        extra.remove_prefix(std::min<std::size_t>(head + length, extra.size()));
    }
}

}  // namespace

ZipArchive::ZipArchive(const std::filesystem::path& file)
    : ZipArchive(file, Range{0, size_of_file(file)}) {}

ZipArchive::ZipArchive(std::filesystem::path file, Range range)
    : file_(std::move(file)), range_(range) {
    std::uint64_t num_entries = 0;
    const Range directory = find_directory(num_entries);
    const std::string bytes = read_bytes(directory.begin, directory.size);
    std::string_view rest = bytes;
    for (std::uint64_t i = 0; i < num_entries; ++i) {
        rest.remove_prefix(add_entry(rest));
    }
    drop_common_folder();
}

void ZipArchive::fail(std::string_view why) const {
    throw InputError(fmt::format(
        "'{}' is no archive that can be read: {}; save the model again with "
        "torch.export.save or torch.jit.save, and copy the whole file",
        file_.string(),
        why));
}

//! `offset` counts from the begin of this archive.
std::string ZipArchive::read_bytes(std::uint64_t offset,
                                   std::uint64_t size) const {
    if (offset > range_.size || size > range_.size - offset) {
        fail("it ends before what its directory names");
    }
    std::string bytes(size, '\0');
    read_file_part(
        file_, range_.begin + offset, std::as_writable_bytes(std::span(bytes)));
    return bytes;
}

ZipArchive::Range ZipArchive::find_directory(std::uint64_t& num_entries) const {
    if (range_.size < end_size) {
        fail("it is too short");
    }
    const std::uint64_t tail_size =
        std::min<std::uint64_t>(range_.size, end_size + max_comment);
    const std::string tail = read_bytes(range_.size - tail_size, tail_size);
    for (std::size_t at = tail.size() - end_size + 1; at-- > 0;) {
        const std::string_view record = std::string_view(tail).substr(at);
        if (little_endian<std::uint32_t>(record, 0) != end_signature ||
            little_endian<std::uint16_t>(record, 20) !=
                record.size() - end_size) {
            continue;
        }
        num_entries = little_endian<std::uint16_t>(record, 10);
        const Range directory{little_endian<std::uint32_t>(record, 16),
                              little_endian<std::uint32_t>(record, 12)};
        const bool is_long = num_entries == 0xffff ||
                             directory.begin == see_long ||
                             directory.size == see_long;
        return is_long ? find_long_directory(range_.size - tail_size + at,
                                             num_entries)
                       : directory;
    }
    fail("it is not a zip file");
}

ZipArchive::Range ZipArchive::find_long_directory(
    std::uint64_t end_record, std::uint64_t& num_entries) const {
    if (end_record < long_locator_size) {
        fail("its directory is damaged");
    }
    const std::string locator =
        read_bytes(end_record - long_locator_size, long_locator_size);
    if (little_endian<std::uint32_t>(locator, 0) != long_locator_signature) {
        fail("its directory is damaged");
    }
    const std::string record =
        read_bytes(little_endian<std::uint64_t>(locator, 8), long_end_size);
    if (little_endian<std::uint32_t>(record, 0) != long_end_signature) {
        fail("its directory is damaged");
    }
    num_entries = little_endian<std::uint64_t>(record, 32);
    return {little_endian<std::uint64_t>(record, 48),
            little_endian<std::uint64_t>(record, 40)};
}

//! Take the first entry of the directory's rest; its length.
std::size_t ZipArchive::add_entry(std::string_view record) {
    if (record.size() < directory_entry_size ||
        little_endian<std::uint32_t>(record, 0) != directory_signature) {
        fail("its directory is damaged");
    }
    const std::size_t name_size = little_endian<std::uint16_t>(record, 28);
    const std::size_t extra_size = little_endian<std::uint16_t>(record, 30);
    const std::size_t comment_size = little_endian<std::uint16_t>(record, 32);
    const std::size_t length =
        directory_entry_size + name_size + extra_size + comment_size;
    if (record.size() < length) {
        fail("its directory is damaged");
    }
    const std::string name(record.substr(directory_entry_size, name_size));
    std::uint64_t stored = little_endian<std::uint32_t>(record, 20);
    ZipEntry entry;
    entry.crc = little_endian<std::uint32_t>(record, 16);
    entry.size = little_endian<std::uint32_t>(record, 24);
    entry.offset = little_endian<std::uint32_t>(record, 42);
    take_long_sizes(record.substr(directory_entry_size + name_size, extra_size),
                    entry.size,
                    stored,
                    entry.offset);
    if (name.ends_with('/') && entry.size == 0) {
        return length;  // a folder
    }
    if (!is_plain_name(name)) {
        fail("one of its names is no plain path");
    }
    check_packing(name,
                  little_endian<std::uint16_t>(record, 8),
                  little_endian<std::uint16_t>(record, 10),
                  stored,
                  entry);
    const std::string local = read_bytes(entry.offset, local_size);
    if (little_endian<std::uint32_t>(local, 0) != local_signature) {
        fail(fmt::format("its entry '{}' is not where it should be", name));
    }
    entry.offset += local_size + little_endian<std::uint16_t>(local, 26) +
                    little_endian<std::uint16_t>(local, 28);
    if (entry.offset > range_.size || stored > range_.size - entry.offset) {
        fail(fmt::format("its entry '{}' goes on behind the end", name));
    }
    entry.offset += range_.begin;
    if (!entries_.emplace(name, entry).second) {
        fail(fmt::format("it has two entries '{}'", name));
    }
    return length;
}

void ZipArchive::check_packing(const std::string& name,
                               std::uint16_t flags,
                               std::uint16_t method,
                               std::uint64_t stored,
                               ZipEntry& entry) const {
    constexpr std::uint16_t deflated = 8;
    const bool is_encrypted = (flags & 1U) != 0;
    if (is_encrypted || (method != 0 && method != deflated)) {
        fail(
            fmt::format("its entry '{}' is encrypted or compressed in a way "
                        "that is not known here",
                        name));
    }
    if (method == 0 && stored != entry.size) {
        fail(fmt::format("the sizes of its entry '{}' are damaged", name));
    }
    if (method == deflated) {
        if (entry.size > most_unpacked || stored == 0) {
            fail(
                fmt::format("its entry '{}' is compressed and larger than 64 "
                            "MiB, or empty",
                            name));
        }
        entry.packed_size = stored;
    }
}

void ZipArchive::drop_common_folder() {
    if (entries_.empty()) {
        return;
    }
    const std::string& first = entries_.begin()->first;
    const std::string folder = first.substr(0, first.find('/') + 1);
    const bool is_common =
        !folder.empty() && std::ranges::all_of(entries_, [&](const auto& e) {
            return e.first.starts_with(folder);
        });
    if (!is_common) {
        return;
    }
    std::map<std::string, ZipEntry> renamed;
    for (const auto& [name, entry] : entries_) {
        renamed.emplace(name.substr(folder.size()), entry);
    }
    entries_ = std::move(renamed);
}

const ZipEntry& ZipArchive::find_any(const std::string& name) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) {
        fail(fmt::format("it has no entry '{}'", name));
    }
    return found->second;
}

const ZipEntry& ZipArchive::find(const std::string& name) const {
    const ZipEntry& entry = find_any(name);
    if (entry.packed_size != 0) {
        fail(fmt::format("its entry '{}' is compressed", name));
    }
    return entry;
}

std::string ZipArchive::read(const std::string& name) const {
    const ZipEntry& entry = find_any(name);
    const std::uint64_t offset = entry.offset - range_.begin;
    const auto bytes =
        entry.packed_size == 0
            ? std::optional(read_bytes(offset, entry.size))
            : detail::inflate(read_bytes(offset, entry.packed_size),
                              entry.size);
    if (!bytes || crc32(*bytes) != entry.crc) {
        fail(fmt::format("its entry '{}' does not have its checksum", name));
    }
    return *bytes;
}

ZipArchive ZipArchive::open_inner(const std::string& name) const {
    const ZipEntry& entry = find(name);
    return {file_, Range{entry.offset, entry.size}};
}

}  // namespace fusionllm
