#include "shared_file.hpp"

#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file_descriptor.hpp"

namespace fusionllm::detail {
namespace {

std::string system_reason() {
    return std::generic_category().message(errno);
}

std::vector<std::string> candidate_folders() {
    std::vector<std::string> folders{"/dev/shm"};
    if (const char* temporary = std::getenv("TMPDIR")) {
        folders.emplace_back(temporary);
    }
    folders.emplace_back("/tmp");
    return folders;
}

//! A new file of that many zeros; its path, or why there is none.
struct NewFile {
    std::string path;
    std::string failure;
};

NewFile make_file(const std::string& name, std::size_t num_bytes) {
    std::string failure;
    for (const std::string& folder : candidate_folders()) {
        std::string path = folder + "/fusionllm-" + name + "-XXXXXX";
        const FileDescriptor file(mkostemp(path.data(), O_CLOEXEC));
        // posix_fallocate reserves the space: without it a full /dev/shm
        // shows as SIGBUS at the first access.
        if (file.is_open()) {
            errno = posix_fallocate(file.get(), 0, num_bytes);
            if (errno == 0) {
                return {path, ""};
            }
        }
        failure += fmt::format(" {}: {};", path, system_reason());
        if (file.is_open()) {
            unlink(path.c_str());
        }
    }
    return {"", failure};
}

//! The mapping, or null and why not.
void* map_file(const std::string& path,
               std::size_t num_bytes,
               std::string& failure) {
    const FileDescriptor file(open(path.c_str(), O_RDWR | O_CLOEXEC));
    void* memory = MAP_FAILED;
    if (file.is_open()) {
        memory = mmap(nullptr,
                      num_bytes,
                      PROT_READ | PROT_WRITE,
                      MAP_SHARED,
                      file.get(),
                      0);
    }
    if (memory == MAP_FAILED) {
        failure = fmt::format(" {}: {};", path, system_reason());
        return nullptr;
    }
    return memory;
}

void check_everybody(const mpi::Communicator& host,
                     const std::string& failure) {
    for (const std::string& reason : mpi::all_gather_strings(host, failure)) {
        if (!reason.empty()) {
            throw Error(fmt::format(
                "the ranks of host {} cannot share a small file:{} check that "
                "/dev/shm or $TMPDIR is writable and not full",
                mpi::host_name(),
                reason));
        }
    }
}

}  // namespace

void* map_shared(const mpi::Communicator& host,
                 const std::string& name,
                 std::size_t num_bytes) {
    const bool is_first = host.rank() == 0;
    const NewFile made = is_first ? make_file(name, num_bytes) : NewFile{};
    check_everybody(host, made.failure);
    const std::string path = mpi::all_gather_strings(host, made.path).front();

    std::string failure;
    void* const memory = map_file(path, num_bytes, failure);
    try {
        check_everybody(host, failure);
    } catch (...) {
        if (memory != nullptr) {
            munmap(memory, num_bytes);
        }
        if (is_first) {
            unlink(path.c_str());
        }
        throw;
    }
    if (is_first) {
        unlink(path.c_str());
    }
    return memory;
}

}  // namespace fusionllm::detail
