#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace fusionllm {

/*!
 * A large file that is written piece by piece under a name beside its own:
 * `commit` brings it to the disk and renames it, so that the file is the old
 * or the new one, never half. Without that, it is removed at the end.
 */
class FileBeside {
public:
    //! Makes it, empty. Throws `InputError` if that cannot be.
    explicit FileBeside(std::filesystem::path file);
    ~FileBeside();
    FileBeside(const FileBeside&) = delete;
    FileBeside& operator=(const FileBeside&) = delete;

    //! Where to write until then.
    const std::filesystem::path& path() const { return path_; }
    //! Throws `Error` if it cannot be written.
    void append(std::span<const std::byte> bytes);
    //! Throws `Error`; what was there before is then unchanged.
    void commit();

private:
    [[noreturn]] void fail() const;

    std::filesystem::path file_;
    std::filesystem::path path_;
    int descriptor_ = -1;
};

}  // namespace fusionllm
