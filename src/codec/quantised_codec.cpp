#include "quantised_codec.hpp"

#include "fusionllm/codec/value_block.hpp"
#include "fusionllm/util/error.hpp"

#include "top_k_move.hpp"

namespace fusionllm {
namespace {

class QuantisedCodec final : public Codec {
public:
    QuantisedCodec(const CodecPair& specs,
                   const MatrixShape& shape,
                   MemorySpace space)
        : specs_(specs), shape_(shape), space_(space) {}

    CodecSpec spec(Direction direction, const CodecKey&) const override {
        return specs_.of(direction);
    }

    void encode(Direction direction,
                const CodecKey& key,
                std::span<const float> numbers,
                std::span<std::byte> payload) override {
        const CodecSpec& spec = specs_.of(direction);
        FUSIONLLM_EXPECTS(numbers.size() == shape_.size());
        FUSIONLLM_EXPECTS(payload.size() == payload_bytes(spec, shape_));
        encode_values(
            spec.values, spec.rounding, key.random, numbers, payload, space_);
    }

    void decode(Direction direction,
                const CodecKey& key,
                const CodecSpec& spec,
                std::span<const std::byte> payload,
                std::span<float> numbers) override {
        FUSIONLLM_EXPECTS(numbers.size() == shape_.size());
        detail::check_message(
            spec, specs_.of(direction), payload.size(), shape_);
        decode_values(
            spec.values, spec.rounding, key.random, payload, numbers, space_);
    }

    std::vector<CodecState> state() const override { return {}; }

    void set_state(const std::vector<CodecState>& state) override {
        FUSIONLLM_VALIDATE(
            state.empty(),
            "a codec that sends all elements keeps nothing, but a state '{}' "
            "is to be set; use the checkpoint with the plan it was made with",
            state.front().name);
    }

private:
    CodecPair specs_;
    MatrixShape shape_;
    MemorySpace space_;
};

}  // namespace

std::unique_ptr<Codec> make_quantised_codec(const CodecPair& specs,
                                            const MatrixShape& shape,
                                            MemorySpace space) {
    return std::make_unique<QuantisedCodec>(specs, shape, space);
}

}  // namespace fusionllm
