#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include <Kokkos_Core.hpp>

#include "fusionllm/codec/top_k_select.hpp"

namespace fusionllm {

//! One way to select on one kind of memory, and what it carries along.
class TopKSelector::Method {
public:
    virtual ~Method() = default;
    virtual void select(std::span<const float> numbers,
                        std::span<std::uint32_t> indices) = 0;
    virtual void set_hint(std::uint32_t threshold) = 0;
    virtual void forget_hint() = 0;
    virtual Guess last_guess() const = 0;
};

namespace detail {

//! The bits of |x|, which order as magnitudes do; below 2^31.
KOKKOS_INLINE_FUNCTION std::uint32_t magnitude_key(float x) {
    std::uint32_t bits = 0;
    memcpy(&bits, &x, sizeof(bits));
    return bits & 0x7fffffffu;
}

//! Elements with a larger key are kept, of equal ones the first few.
struct Threshold {
    std::uint32_t key = 0;
    std::uint64_t num_equal = 0;  //!< that are kept
};

/*!
 * How far below the last threshold to look: far enough that the next one is
 * above, so near that few elements are in between. Learns from both mistakes.
 */
class Margin {
public:
    std::uint32_t below(std::uint32_t threshold) const {
        return threshold > margin_ ? threshold - margin_ : 0;
    }
    //! Whether looking below one threshold would have found the other.
    bool has(std::uint32_t one, std::uint32_t other) const {
        return one > other ? one - other <= margin_ : other - one <= margin_;
    }
    void widen() { margin_ = margin_ < most_ ? 2 * margin_ : most_; }
    //! Numbers that differ by chance alone pass a threshold about sqrt(kept)
    //! times more or less often.
    void adapt(std::uint64_t num_candidates, std::uint64_t kept) {
        const std::uint64_t excess =
            num_candidates > kept ? num_candidates - kept : 0;
        if (excess > kept / 4 && excess * excess > 64 * kept &&
            margin_ > least_) {
            margin_ -= margin_ / 8;
        }
    }

private:
    // 2^23 is a factor of two.
    static constexpr std::uint32_t least_ = 1u << 14;
    static constexpr std::uint32_t most_ = 1u << 23;
    std::uint32_t margin_ = 1u << 18;
};

struct TopKTask {
    MatrixShape shape;
    Selection selection = Selection::tensor;
    std::uint64_t kept = 0;

    bool is_by_row() const { return selection == Selection::row; }
    std::uint64_t kept_of_row() const { return kept / shape.rows; }
    //! Elements that may come into question before a histogram is cheaper.
    std::uint64_t capacity() const {
        constexpr std::uint64_t some = 4096;
        const std::uint64_t all = is_by_row() ? shape.columns : shape.size();
        const std::uint64_t wanted = is_by_row() ? kept_of_row() : kept;
        const std::uint64_t enough = wanted + wanted / 2 + some;
        return enough < all ? enough : all;
    }
};

}  // namespace detail
}  // namespace fusionllm
