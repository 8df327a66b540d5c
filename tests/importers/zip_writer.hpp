#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fusionllm/importers/zip_archive.hpp"

namespace fusionllm::test {

using ZipContents = std::vector<std::pair<std::string, std::string>>;

inline void append(std::string& bytes, std::uint64_t number, int size) {
    for (int i = 0; i < size; ++i) {
        bytes += static_cast<char>((number >> (8 * i)) & 255);
    }
}

//! A zip file without compression, as PyTorch and Python make them.
inline std::string make_zip(const ZipContents& contents) {
    std::string file;
    std::string directory;
    for (const auto& [name, bytes] : contents) {
        std::string common;
        append(common, 0, 2);  // flags
        append(common, 0, 2);  // stored
        append(common, 0, 4);  // time
        append(common, crc32(bytes), 4);
        append(common, bytes.size(), 4);
        append(common, bytes.size(), 4);
        append(common, name.size(), 2);
        append(common, 0, 2);
        append(directory, 0x02014b50, 4);
        append(directory, 20, 2);
        append(directory, 20, 2);
        directory += common;
        append(directory, 0, 4);  // comment, disk
        append(directory, 0, 6);  // attributes
        append(directory, file.size(), 4);
        directory += name;
        append(file, 0x04034b50, 4);
        append(file, 20, 2);
        file += common + name + bytes;
    }
    const std::size_t begin = file.size();
    file += directory;
    append(file, 0x06054b50, 4);
    append(file, 0, 4);
    append(file, contents.size(), 2);
    append(file, contents.size(), 2);
    append(file, directory.size(), 4);
    append(file, begin, 4);
    append(file, 0, 2);
    return file;
}

//! A file in the folder of temporary files that goes with the object.
class TemporaryFile {
public:
    TemporaryFile(const std::string& name, std::string_view bytes)
        : path_(std::filesystem::temp_directory_path() / name) {
        std::ofstream(path_, std::ios::binary) << bytes;
    }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    ~TemporaryFile() {
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
    }
    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

}  // namespace fusionllm::test
