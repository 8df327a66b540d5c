#include "fusionllm/util/file_beside.hpp"

#include <cerrno>
#include <random>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

namespace fusionllm {

namespace fs = std::filesystem;

FileBeside::FileBeside(fs::path file) : file_(std::move(file)) {
    std::random_device random;
    while (descriptor_ < 0) {
        path_ = file_;
        path_ += fmt::format(".{:08x}.tmp", random());
        descriptor_ = ::open(
            path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        FUSIONLLM_VALIDATE(
            descriptor_ >= 0 || errno == EEXIST,
            "cannot write '{}': {}; check that its folder exists and that you "
            "may write in it",
            file_.string(),
            std::generic_category().message(errno));
    }
}

FileBeside::~FileBeside() {
    if (descriptor_ >= 0) {
        ::close(descriptor_);
    }
    if (!path_.empty()) {
        ::unlink(path_.c_str());
    }
}

void FileBeside::fail() const {
    throw Error(
        fmt::format("cannot write '{}': {}; what was there before is unchanged",
                    file_.string(),
                    std::generic_category().message(errno)));
}

void FileBeside::append(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
        if (count < 0 && errno != EINTR) {
            fail();
        }
        if (count > 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(count));
        }
    }
}

void FileBeside::commit() {
    if (::fsync(descriptor_) != 0 ||
        ::rename(path_.c_str(), file_.c_str()) != 0) {
        fail();
    }
    path_.clear();
    sync_path(file_.has_parent_path() ? file_.parent_path() : fs::path("."));
}

}  // namespace fusionllm
