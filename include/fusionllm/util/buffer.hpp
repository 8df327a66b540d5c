#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace fusionllm {

/*!
 * Host bytes that a message travels in: 64-byte aligned, not initialised.
 *
 * Move-only; what was moved from is empty. A buffer may be kept alive by a
 * tensor that views it.
 */
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(std::size_t num_bytes);
    Buffer(Buffer&& other) noexcept;
    Buffer& operator=(Buffer&& other) noexcept;

    std::size_t size() const { return size_; }
    std::byte* data() { return bytes_.get(); }
    const std::byte* data() const { return bytes_.get(); }
    std::span<std::byte> span() { return {data(), size_}; }
    std::span<const std::byte> span() const { return {data(), size_}; }
    //! Forget the bytes behind the first `num_bytes`; no reallocation.
    void shrink(std::size_t num_bytes);

private:
    struct Free {
        void operator()(std::byte* bytes) const;
    };
    std::unique_ptr<std::byte[], Free> bytes_;
    std::size_t size_ = 0;
};

}  // namespace fusionllm
