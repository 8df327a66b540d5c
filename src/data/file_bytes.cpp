#include "file_bytes.hpp"

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/file_descriptor.hpp"

namespace fusionllm::detail {
namespace {

constexpr std::size_t most_copied_bytes = std::size_t{1} << 16;

void check_system(bool is_good, const std::filesystem::path& file) {
    FUSIONLLM_VALIDATE(is_good,
                       "cannot read '{}': {}; check its path",
                       file.string(),
                       std::generic_category().message(errno));
}

}  // namespace

FileBytes::FileBytes(const std::filesystem::path& file) {
    const FileDescriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    check_system(descriptor.is_open(), file);
    struct stat facts {};
    check_system(::fstat(descriptor.get(), &facts) == 0, file);
    FUSIONLLM_VALIDATE(S_ISREG(facts.st_mode),
                       "'{}' is not a file, so its bytes cannot be read in any "
                       "order; name a file",
                       file.string());
    const auto num_bytes = static_cast<std::size_t>(facts.st_size);
    if (num_bytes <= most_copied_bytes) {
        copy_ = Buffer(num_bytes);
        read_file_part(file, 0, copy_.span());
        bytes_ = copy_.span();
        return;
    }
    void* start =
        ::mmap(nullptr, num_bytes, PROT_READ, MAP_PRIVATE, descriptor.get(), 0);
    check_system(start != MAP_FAILED, file);
    bytes_ = {static_cast<const std::byte*>(start), num_bytes};
    is_mapped_ = true;
}

FileBytes::~FileBytes() {
    if (is_mapped_) {
        ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
    }
}

}  // namespace fusionllm::detail
