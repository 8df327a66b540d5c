#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fusionllm/codec/memory_space.hpp"
#include "fusionllm/util/tensor_type.hpp"
#include "fusionllm/wire/codec_choice.hpp"

namespace fusionllm {

//! What the bytes of a message depend on besides its numbers.
struct CodecKey {
    enum class Use {
        training,
        evaluation,  //!< leaves nothing behind and takes nothing in
    };
    Use use = Use::training;
    std::uint32_t micro_batch = 0;  //!< forward leaves its mask for backward
    //! Of stochastic rounding, at both ends: made from (run seed, step,
    //! micro-batch, cut, value, direction).
    std::uint64_t random = 0;
    //! Ask a subspace for a new basis with this message; it makes one anyway
    //! when it has none.
    bool wants_new_basis = false;
};

//! What a codec keeps from one step to the next, by name.
struct CodecState {
    std::string name;  //!< "basis", "forward_residual", "backward_residual"
    HostTensor tensor;

    friend bool operator==(const CodecState&, const CodecState&) = default;
};

//! What the end before (forward) or behind (backward) a fence keeps that the
//! other end does not, or, of a basis, does not make: name and type of each.
std::vector<std::pair<std::string, TensorType>> codec_state_types(
    const CodecChoice& choice, const MatrixShape& shape, Direction direction);

/*!
 * One value's compression at one end of a fence.
 *
 * The end before the fence encodes forward and decodes backward; the end after
 * it does the opposite. Two ends that got the same messages have the same
 * state, whether they are in one process or not. Numbers are f32 in row-major
 * order; numbers and payload are in the codec's memory space. Same input, same
 * bytes: on every device, number of threads and ranks. Micro-batches run
 * forward in ascending order, and so they do backward.
 */
class Codec {
public:
    virtual ~Codec() = default;

    //! The next message: `payload_bytes(spec, shape)` is its size. Its `id` is
    //! `dense` for evaluation of a subspace that has no basis yet.
    virtual CodecSpec spec(Direction direction, const CodecKey& key) const = 0;

    //! \param payload exactly as many bytes as `spec(direction, key)` takes
    virtual void encode(Direction direction,
                        const CodecKey& key,
                        std::span<const float> numbers,
                        std::span<std::byte> payload) = 0;

    /*!
     * Trusts nothing: throws `Error` with a sentence if the payload is not one
     * that `encode` makes; nothing is read or written out of range. `spec` is
     * that of the message; refused unless it fits this codec.
     */
    virtual void decode(Direction direction,
                        const CodecKey& key,
                        const CodecSpec& spec,
                        std::span<const std::byte> payload,
                        std::span<float> numbers) = 0;

    //! Empty for codecs that keep nothing; for checkpoints.
    virtual std::vector<CodecState> state() const = 0;
    //! Throws `InputError` if this state is not of such a codec.
    virtual void set_state(const std::vector<CodecState>& state) = 0;
};

/*!
 * Throws `InputError` if the two directions do not belong together, and `Error`
 * if Kokkos cannot reach the memory.
 */
std::unique_ptr<Codec> make_codec(const CodecChoice& choice,
                                  const MatrixShape& shape,
                                  MemorySpace space);

}  // namespace fusionllm
