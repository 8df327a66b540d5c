#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include "fusionllm/util/buffer.hpp"

namespace fusionllm::detail {

/*!
 * The bytes of a file, which the system reads when they are looked at: mapped,
 * unless there are so few that a copy is cheaper (a process may map 65530
 * files). The file may be replaced meanwhile, but not shortened.
 */
class FileBytes {
public:
    //! Throws `InputError` naming the file and the system's reason.
    explicit FileBytes(const std::filesystem::path& file);
    FileBytes(const FileBytes&) = delete;
    FileBytes& operator=(const FileBytes&) = delete;
    ~FileBytes();

    std::span<const std::byte> bytes() const { return bytes_; }
    std::string_view text() const {
        return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
    }

private:
    Buffer copy_;
    std::span<const std::byte> bytes_;
    bool is_mapped_ = false;
};

}  // namespace fusionllm::detail
