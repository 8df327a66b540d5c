#include "fusionllm/util/buffer.hpp"

#include <new>
#include <utility>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

constexpr std::align_val_t alignment{64};

}  // namespace

Buffer::Buffer(std::size_t num_bytes) : size_(num_bytes) {
    if (num_bytes > 0) {
        bytes_.reset(
            static_cast<std::byte*>(::operator new[](num_bytes, alignment)));
    }
}

Buffer::Buffer(Buffer&& other) noexcept
    : bytes_(std::move(other.bytes_)), size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
    bytes_ = std::move(other.bytes_);
    size_ = std::exchange(other.size_, 0);
    return *this;
}

void Buffer::shrink(std::size_t num_bytes) {
    FUSIONLLM_EXPECTS(num_bytes <= size_);
    size_ = num_bytes;
}

void Buffer::Free::operator()(std::byte* bytes) const {
    ::operator delete[](bytes, alignment);
}

}  // namespace fusionllm
