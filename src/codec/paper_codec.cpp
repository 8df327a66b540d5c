#include "fusionllm/codec/top_k_select.hpp"
#include "fusionllm/codec/value_block.hpp"

#include "top_k_codec.hpp"
#include "top_k_move.hpp"

namespace fusionllm {
namespace {

constexpr std::size_t wide_bytes = 8;

struct Widen {
    const std::uint32_t* indices;
    std::byte* bytes;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t j) const {
        const std::uint64_t index = indices[j];
        memcpy(bytes + j * wide_bytes, &index, wide_bytes);
    }
};

//! Narrows what is an index and above the one before; counts the rest.
struct Narrow {
    const std::byte* bytes;
    std::uint32_t* indices;
    std::uint64_t num_elements;

    KOKKOS_INLINE_FUNCTION std::uint64_t load(std::uint64_t j) const {
        std::uint64_t index = 0;
        memcpy(&index, bytes + j * wide_bytes, wide_bytes);
        return index;
    }
    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t j,
                                           std::uint64_t& wrong) const {
        const std::uint64_t index = load(j);
        if (index >= num_elements || (j > 0 && index <= load(j - 1))) {
            ++wrong;
        }
        indices[j] = static_cast<std::uint32_t>(index);
    }
};

template <class Space>
class PaperCodec final : public Codec {
public:
    PaperCodec(const CodecSpec& spec,
               const MatrixShape& shape,
               MemorySpace memory)
        : spec_(spec),
          shape_(shape),
          memory_(memory),
          forward_(shape, Selection::tensor, spec.kept, memory),
          backward_(shape, Selection::tensor, spec.kept, memory),
          indices_(detail::make_room<std::uint32_t, Space>(
              "FusionLLM::PaperTopK::indices", spec.kept)),
          values_(detail::make_room<float, Space>(
              "FusionLLM::PaperTopK::values", spec.kept)) {}

    CodecSpec spec(Direction, const CodecKey&) const override { return spec_; }

    void encode(Direction direction,
                const CodecKey&,
                std::span<const float> numbers,
                std::span<std::byte> payload) override {
        FUSIONLLM_EXPECTS(numbers.size() == shape_.size());
        FUSIONLLM_EXPECTS(payload.size() == payload_bytes(spec_, shape_));
        const auto indices = detail::span_of(indices_);
        // Thresholds of gradients are no guess for those of activations.
        (direction == Direction::forward ? forward_ : backward_)
            .select(numbers, indices);
        Kokkos::parallel_for("FusionLLM::PaperTopK::widen",
                             range(),
                             Widen{indices.data(), payload.data()});
        detail::gather(space_, numbers, indices, detail::span_of(values_));
        encode_values(ValueFormat::f32,
                      Rounding::nearest,
                      0,
                      detail::span_of(values_),
                      payload.subspan(wide_bytes * spec_.kept),
                      memory_);
    }

    void decode(Direction,
                const CodecKey&,
                const CodecSpec& spec,
                std::span<const std::byte> payload,
                std::span<float> numbers) override {
        FUSIONLLM_EXPECTS(numbers.size() == shape_.size());
        detail::check_message(spec, spec_, payload.size(), shape_);
        read_indices(payload);
        decode_values(ValueFormat::f32,
                      Rounding::nearest,
                      0,
                      payload.subspan(wide_bytes * spec_.kept),
                      detail::span_of(values_),
                      memory_);
        detail::scatter(space_,
                        detail::span_of(values_),
                        detail::span_of(indices_),
                        numbers);
    }

    std::vector<CodecState> state() const override { return {}; }
    void set_state(const std::vector<CodecState>& state) override {
        FUSIONLLM_VALIDATE(
            state.empty(),
            "a state of a codec (\"{}\" and perhaps more) is given to the "
            "paper's top-k, which keeps none; resume with the codec of the run "
            "before",
            state.front().name);
    }

private:
    detail::MoveRange<Space> range() const { return {space_, 0, spec_.kept}; }

    void read_indices(std::span<const std::byte> payload) {
        std::uint64_t num_wrong = 0;
        Kokkos::parallel_reduce(
            "FusionLLM::PaperTopK::narrow",
            range(),
            Narrow{payload.data(), indices_.data(), shape_.size()},
            num_wrong);
        if (num_wrong > 0) {
            throw Error(
                fmt::format("the indices of a message cannot be used: {} of {} "
                            "are not above the one before and below the "
                            "tensor's {} elements; check that all ranks run "
                            "the same version of fusionllm",
                            num_wrong,
                            spec_.kept,
                            shape_.size()));
        }
    }

    CodecSpec spec_;
    MatrixShape shape_;
    MemorySpace memory_;
    Space space_;
    TopKSelector forward_;
    TopKSelector backward_;
    Kokkos::View<std::uint32_t*, Space> indices_;
    Kokkos::View<float*, Space> values_;
};

}  // namespace

std::unique_ptr<Codec> make_paper_codec(const CodecChoice& choice,
                                        const MatrixShape& shape,
                                        MemorySpace space) {
    FUSIONLLM_EXPECTS(choice.id == CodecId::paper_top_k && shape.size() > 0);
    return detail::make_for<PaperCodec, Codec>(
        space, resolve(choice, shape).forward, shape, space);
}

}  // namespace fusionllm
