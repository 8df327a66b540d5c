#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fusionllm/codec/codec.hpp"
#include "fusionllm/plan/fence.hpp"
#include "fusionllm/runtime/basis_schedule.hpp"
#include "fusionllm/runtime/codec_probe.hpp"
#include "fusionllm/runtime/fence_report.hpp"
#include "fusionllm/runtime/named_tensor.hpp"
#include "fusionllm/util/buffer.hpp"
#include "fusionllm/wire/message_header.hpp"

namespace fusionllm {

//! How fences are run, besides which there are.
struct FenceOptions {
    std::uint64_t seed = 1;
    at::Device device{at::kCPU};
    BasisSchedule bases{};
    std::int64_t measure_every = 0;  //!< steps; 0 = never measure errors
    //! Codecs whose errors are measured beside those in use.
    std::vector<CodecChoice> candidates;
};

//! Whether an evaluation goes through the codecs, as training does.
enum class CodecUse : std::uint8_t { on, off };

//! A tensor's passage through a fence.
struct FenceKey {
    std::size_t cut = 0;
    ValueId value{0};
    Direction direction = Direction::forward;
    std::uint64_t step = 0;
    std::uint32_t micro_batch = 0;
    CodecKey::Use use = CodecKey::Use::training;
};

/*!
 * The codecs of one stage: both ends of the fences inside it, and its own end
 * of those at its first and its last cut.
 *
 * Numbers are encoded where they are, on the device; messages lie in host
 * memory. All calls come from the compute thread. What is random depends on
 * seed, step, micro-batch and fence alone, so that it does not matter which
 * rank has a fence.
 */
class FenceCodecs {
public:
    //! \param ops of the stage; fences elsewhere are left out
    FenceCodecs(const OpGraph& graph,
                const std::vector<Fence>& fences,
                OpRange ops,
                FenceOptions options);
    ~FenceCodecs();

    bool has(std::size_t cut, ValueId value) const;
    //! Cuts inside the stage that have a fence, ascending.
    std::vector<std::size_t> inner_cuts() const;
    //! No message of either direction has more bytes.
    std::size_t max_message_bytes(std::size_t cut, ValueId value) const;

    //! The message of a tensor for the other end; `header` as for
    //! `encode_message`. One of an undefined tensor says so.
    Buffer encode(const FenceKey& key,
                  MessageHeader header,
                  const at::Tensor& tensor);
    //! The tensor of such a message; throws `Error` unless it is the expected
    //! one.
    at::Tensor decode(const FenceKey& key,
                      const Buffer& message,
                      const MessageHeader& expected);
    //! What comes out behind a fence inside the stage, with the same strides.
    at::Tensor cross(const FenceKey& key, const at::Tensor& tensor);

    //! What training did since the last call; evaluations are not in it.
    std::vector<FenceReport> take_reports();
    //! Errors of the candidates, since the last call.
    std::vector<MeasuredError> take_errors();

    /*!
     * What codecs keep from step to step, by checkpoint name; each tensor at
     * one end only, the one that makes it.
     */
    std::vector<NamedTensor> state() const;
    /*!
     * Go on from a checkpoint of a model with the fences `stored`. What fits
     * the codec of a fence is taken; but a basis that was graded for another
     * format is left behind at both ends, and the next message brings a new
     * one. Throws `InputError` if a state of the same codec is damaged.
     */
    void load_state(const LoadTensor& load, const std::vector<Fence>& stored);
    //! The same of what another object's codecs keep.
    void take_state(const FenceCodecs& other);

private:
    enum class Side { before, after };
    struct End;
    using EndKey = std::tuple<std::size_t, ValueId, Side>;

    static Side encoder_of(Direction direction) {
        return direction == Direction::forward ? Side::before : Side::after;
    }
    static Side decoder_of(Direction direction) {
        return direction == Direction::forward ? Side::after : Side::before;
    }
    End& end(const FenceKey& key, Side side);
    CodecKey codec_key(const FenceKey& key) const;
    bool is_measured(const FenceKey& key) const;
    FenceReport& report(const FenceKey& key);
    void add_encoded(const FenceKey& key,
                     std::size_t dense_bytes,
                     std::size_t bytes,
                     double seconds);
    void add_decoded(const FenceKey& key, double seconds);
    void encode_with(Codec& codec,
                     const FenceKey& key,
                     const at::Tensor& numbers,
                     const at::Tensor& payload) const;
    at::Tensor decode_with(Codec& codec,
                           const FenceKey& key,
                           const CodecSpec& spec,
                           const at::Tensor& payload,
                           at::IntArrayRef sizes) const;
    void measure(const FenceKey& key,
                 const at::Tensor& tensor,
                 const at::Tensor& decoded);

    bool is_probed(const FenceKey& key) const {
        return is_measured(key) && !options_.candidates.empty();
    }
    void probe(const FenceKey& key, const at::Tensor& numbers);
    void prepare_probe(const FenceKey& key, const at::Tensor& decoded);

    const OpGraph& graph_;
    OpRange ops_;
    FenceOptions options_;
    CodecProbe probe_;
    std::map<EndKey, std::unique_ptr<End>> ends_;
    std::vector<FenceReport> reports_;
};

//! A tensor of a fence in a checkpoint, and on which side it is made.
struct FenceTensor {
    std::string name;  //!< "fences/57-91/basis"
    TensorType type;
    Direction direction = Direction::forward;  //!< of what that side encodes
};

std::vector<FenceTensor> fence_tensors(const OpGraph& graph,
                                       const Fence& fence);

}  // namespace fusionllm
