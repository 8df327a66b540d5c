#include "fusionllm/util/file.hpp"

#include <cerrno>
#include <random>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

namespace fs = std::filesystem;

std::string reason(int error) {
    return std::generic_category().message(error);
}

//! An open file; -1 is none.
class Descriptor {
public:
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept
        : number_(std::exchange(other.number_, -1)) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (number_ >= 0) {
            ::close(number_);
        }
    }
    int get() const { return number_; }
    //! Network file systems report a failed write only here.
    int close() { return ::close(std::exchange(number_, -1)); }

private:
    int number_;
};

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
    Descriptor out(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
    if (out.get() < 0 || !write_all(out.get(), text) || out.close() != 0) {
        fail_to_write(file, errno);
    }
}

std::pair<Descriptor, fs::path> open_beside(const fs::path& file) {
    std::random_device random;
    for (;;) {
        fs::path path = file;
        path += fmt::format(".{:08x}.tmp", random());
        Descriptor out(::open(
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

std::string read_all(int descriptor, std::size_t expected_bytes) {
    std::string text(expected_bytes, '\0');
    std::size_t num_read = 0;
    for (;;) {
        if (num_read == text.size()) {
            text.resize(text.size() + 4096);
        }
        const ssize_t count =
            ::read(descriptor, text.data() + num_read, text.size() - num_read);
        if (count == 0) {
            text.resize(num_read);
            return text;
        }
        if (count < 0 && errno != EINTR) {
            throw std::system_error(errno, std::generic_category());
        }
        num_read += count > 0 ? static_cast<std::size_t>(count) : 0;
    }
}

}  // namespace

std::string read_file(const fs::path& file) {
    const Descriptor in(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status {};
    if (in.get() < 0 || ::fstat(in.get(), &status) != 0) {
        throw InputError(fmt::format("cannot read '{}': {}; check its path",
                                     file.string(),
                                     reason(errno)));
    }
    try {
        return read_all(in.get(), static_cast<std::size_t>(status.st_size) + 1);
    } catch (const std::system_error& error) {
        throw InputError(fmt::format("cannot read '{}': {}",
                                     file.string(),
                                     reason(error.code().value())));
    }
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
    const Descriptor opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    // Some file systems cannot sync a folder and say so with EINVAL.
    if (opened.get() < 0 || (::fsync(opened.get()) != 0 && errno != EINVAL)) {
        throw Error(fmt::format(
            "cannot bring '{}' to the disk: {}", path.string(), reason(errno)));
    }
}

}  // namespace fusionllm
