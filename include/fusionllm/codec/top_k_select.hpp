#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "fusionllm/codec/memory_space.hpp"
#include "fusionllm/wire/codec_spec.hpp"

namespace fusionllm {

/*!
 * Finds the elements of largest magnitude, exactly.
 *
 * Magnitudes compare as the bits of |x|: NaN is beyond infinity, -0 is 0, and
 * denormals are numbers as any other. Of equal ones the lowest index wins.
 *
 * The threshold of the last call is carried to the next: one pass then finds
 * the few elements that can be meant, and the choice is made among them. Where
 * there is none yet, or thresholds change too fast for that, a sample of the
 * elements guesses it; where that was wrong, a histogram of the magnitudes
 * takes its place. None of this changes the result, which is a function of the
 * numbers alone.
 *
 * Reads the numbers once; once more after each of the two guesses that was
 * wrong, and twice more if, in addition, more than half as many elements again
 * as are kept come close to the threshold. Memory: 12 bytes for each kept
 * element, and about 100 KiB.
 */
class TopKSelector {
public:
    //! What the last selection began with.
    enum class Guess {
        none,     //!< all, none, or too few elements to guess
        carried,  //!< the threshold of the call before
        sampled,  //!< of a part of the numbers
        wrong,    //!< another guess was needed, or a histogram
    };

    /*!
     * \param kept of all elements; of rows, a multiple of their number
     *
     * Throws `InputError` for 2^32 elements or more, and `Error` if Kokkos
     * cannot reach the memory.
     */
    TopKSelector(const MatrixShape& shape,
                 Selection selection,
                 std::uint64_t kept,
                 MemorySpace space);
    ~TopKSelector();
    TopKSelector(TopKSelector&&) noexcept;
    TopKSelector& operator=(TopKSelector&&) noexcept;

    /*!
     * \param numbers `shape.size()` of them
     * \param indices `kept` of them: where the chosen elements are, ascending
     *
     * Both in the memory space. Returns when it is done.
     */
    void select(std::span<const float> numbers,
                std::span<std::uint32_t> indices);

    //! Expect a threshold (the bits of a magnitude), whatever came before.
    void set_hint(std::uint32_t threshold);
    void forget_hint();
    Guess last_guess() const;

    class Method;

private:
    std::unique_ptr<Method> method_;
};

namespace detail {

//! The same by the kernels that run on devices, here on the host; for tests.
TopKSelector::Guess select_top_k_by_kernels(const MatrixShape& shape,
                                            Selection selection,
                                            std::span<const float> numbers,
                                            std::uint32_t hint,
                                            std::span<std::uint32_t> indices);

}  // namespace detail
}  // namespace fusionllm
