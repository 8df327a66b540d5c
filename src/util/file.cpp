#include "fusionllm/util/file.hpp"

#include <algorithm>
#include <cerrno>
#include <random>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file_descriptor.hpp"
#include "fusionllm/util/hash.hpp"

namespace fusionllm {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t fingerprint_part_bytes = 1 << 20;
constexpr std::uint64_t fingerprint_sample_bytes = 1 << 12;
constexpr std::uint64_t fingerprint_samples = 512;

std::string reason(int error) {
    return std::generic_category().message(error);
}

//! Removes the file unless it was kept.
class TemporaryFile {
public:
    explicit TemporaryFile(fs::path path) : path_(std::move(path)) {}
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    ~TemporaryFile() {
        if (!path_.empty()) {
            ::unlink(path_.c_str());
        }
    }
    const fs::path& path() const { return path_; }
    void keep() { path_.clear(); }

private:
    fs::path path_;
};

[[noreturn]] void fail_to_write(const fs::path& file, int error) {
    throw Error(
        fmt::format("cannot write '{}': {}; what was there before is unchanged",
                    file.string(),
                    reason(error)));
}

bool write_all(int descriptor, std::string_view text) {
    while (!text.empty()) {
        const ssize_t count = ::write(descriptor, text.data(), text.size());
        if (count < 0 && errno != EINTR) {
            return false;
        }
        if (count > 0) {
            text.remove_prefix(static_cast<std::size_t>(count));
        }
    }
    return true;
}

void write_through(const fs::path& file, std::string_view text) {
    FileDescriptor out(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
    if (out.get() < 0 || !write_all(out.get(), text) || out.close() != 0) {
        fail_to_write(file, errno);
    }
}

std::pair<FileDescriptor, fs::path> open_beside(const fs::path& file) {
    std::random_device random;
    for (;;) {
        fs::path path = file;
        path += fmt::format(".{:08x}.tmp", random());
        FileDescriptor out(::open(
            path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
        if (out.get() >= 0) {
            return {std::move(out), std::move(path)};
        }
        FUSIONLLM_VALIDATE(errno == EEXIST,
                           "cannot write '{}': {}; check that its folder "
                           "exists and that you may write in it",
                           file.string(),
                           reason(errno));
    }
}

void replace(const fs::path& file, std::string_view text) {
    auto [out, path] = open_beside(file);
    TemporaryFile temporary(path);
    struct stat old {};
    if (::stat(file.c_str(), &old) == 0 &&
        ::fchmod(out.get(), old.st_mode & 07777) != 0) {
        fail_to_write(file, errno);
    }
    if (!write_all(out.get(), text) || ::fsync(out.get()) != 0 ||
        out.close() != 0 ||
        ::rename(temporary.path().c_str(), file.c_str()) != 0) {
        fail_to_write(file, errno);
    }
    temporary.keep();
    sync_path(file.has_parent_path() ? file.parent_path() : fs::path("."));
}

FileDescriptor open_to_read(const fs::path& file) {
    FileDescriptor in(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    FUSIONLLM_VALIDATE(in.get() >= 0,
                       "cannot read '{}': {}; check its path",
                       file.string(),
                       reason(errno));
    return in;
}

//! Up to `into.size()` bytes; fewer only at the end of the file.
std::size_t read_some(int descriptor,
                      std::span<std::byte> into,
                      const fs::path& file) {
    std::size_t num_read = 0;
    while (num_read < into.size()) {
        const ssize_t count =
            ::read(descriptor, into.data() + num_read, into.size() - num_read);
        FUSIONLLM_VALIDATE(count >= 0 || errno == EINTR,
                           "cannot read '{}': {}",
                           file.string(),
                           reason(errno));
        if (count == 0) {
            break;
        }
        num_read += count > 0 ? static_cast<std::size_t>(count) : 0;
    }
    return num_read;
}

}  // namespace

std::string read_file(const fs::path& file) {
    const FileDescriptor in = open_to_read(file);
    struct stat status {};
    const bool has_size = ::fstat(in.get(), &status) == 0;
    std::string text;
    // One more than the size shows the end; files in /proc have size 0.
    std::size_t more = has_size ? static_cast<std::size_t>(status.st_size) : 0;
    for (++more;; more = std::max<std::size_t>(text.size(), 4096)) {
        const std::size_t old_size = text.size();
        text.resize(old_size + more);
        const std::size_t count =
            read_some(in.get(),
                      std::as_writable_bytes(std::span(text).subspan(old_size)),
                      file);
        if (count < more) {
            text.resize(old_size + count);
            return text;
        }
    }
}

void read_file_part(const fs::path& file,
                    std::uint64_t offset,
                    std::span<std::byte> into) {
    const FileDescriptor in = open_to_read(file);
    FUSIONLLM_VALIDATE(
        ::lseek(in.get(), static_cast<off_t>(offset), SEEK_SET) >= 0,
        "cannot read '{}' from byte {} on: {}",
        file.string(),
        offset,
        reason(errno));
    const std::size_t count = read_some(in.get(), into, file);
    FUSIONLLM_VALIDATE(count == into.size(),
                       "'{}' ends after {} bytes, but {} were expected; was "
                       "it changed while it was being read?",
                       file.string(),
                       offset + count,
                       offset + into.size());
}

std::uint64_t fingerprint_of(const fs::path& file) {
    std::error_code error;
    const std::uint64_t size = fs::file_size(file, error);
    FUSIONLLM_VALIDATE(
        !error, "cannot read '{}': {}", file.string(), error.message());
    std::vector<std::byte> part(
        std::min<std::uint64_t>(size, fingerprint_part_bytes));
    std::uint64_t hash = hash_bytes(std::as_bytes(std::span(&size, 1)));
    for (const std::uint64_t offset : {std::uint64_t{0}, size - part.size()}) {
        read_file_part(file, offset, part);
        hash = hash_bytes(part, hash);
    }
    if (size < 2 * fingerprint_part_bytes + fingerprint_sample_bytes) {
        return hash;
    }
    part.resize(fingerprint_sample_bytes);
    const std::uint64_t room = size - 2 * fingerprint_part_bytes - part.size();
    for (std::uint64_t i = 0; i < fingerprint_samples; ++i) {
        // Divided first: the product of a size and a number may not fit.
        const std::uint64_t offset = room / (fingerprint_samples - 1) * i;
        read_file_part(file, fingerprint_part_bytes + offset, part);
        hash = hash_bytes(part, hash);
    }
    return hash;
}

void write_file(const fs::path& file, std::string_view text) {
    std::error_code ignored;
    // A link stays a link: the file that it names is replaced.
    const fs::path target =
        fs::is_symlink(file, ignored) ? fs::weakly_canonical(file) : file;
    const fs::file_status status = fs::status(target, ignored);
    FUSIONLLM_VALIDATE(!fs::is_directory(status),
                       "cannot write '{}': it is a folder; name a file in it",
                       file.string());
    if (fs::exists(status) && !fs::is_regular_file(status)) {
        write_through(target, text);
    } else {
        replace(target, text);
    }
}

void sync_path(const fs::path& path) {
    const FileDescriptor opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    // Some file systems cannot sync a folder and say so with EINVAL.
    if (opened.get() < 0 || (::fsync(opened.get()) != 0 && errno != EINVAL)) {
        throw Error(fmt::format(
            "cannot bring '{}' to the disk: {}", path.string(), reason(errno)));
    }
}

}  // namespace fusionllm
