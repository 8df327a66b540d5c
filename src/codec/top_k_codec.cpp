#include "top_k_codec.hpp"

#include <map>
#include <utility>

#include "fusionllm/codec/index_pack.hpp"
#include "fusionllm/codec/top_k_select.hpp"
#include "fusionllm/codec/value_block.hpp"

#include "top_k_move.hpp"

namespace fusionllm {
namespace {

//! Rows whose ascending indices are not all in that row.
struct CountStrayRows {
    const std::uint32_t* indices;
    std::uint64_t columns;
    std::uint64_t kept_of_row;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t row,
                                           std::uint64_t& strays) const {
        const std::uint32_t* of_row = indices + row * kept_of_row;
        const bool are_in_row = of_row[0] >= row * columns &&
                                of_row[kept_of_row - 1] < (row + 1) * columns;
        strays += are_in_row ? 0 : 1;
    }
};

//! The masks of micro-batches that are between forward and backward.
template <class Space>
class Masks {
public:
    using Mask = Kokkos::View<std::uint32_t*, Space>;

    explicit Masks(std::uint64_t kept) : kept_(kept) {}

    //! Memory for a mask, of one that is no longer needed if there is any.
    Mask take() {
        if (free_.empty()) {
            return detail::make_room<std::uint32_t, Space>(
                "FusionLLM::TopK::mask", kept_);
        }
        Mask mask = std::move(free_.back());
        free_.pop_back();
        return mask;
    }
    void give_back(Mask mask) { free_.push_back(std::move(mask)); }

    //! Until its backward; a forward that is repeated replaces the first.
    void keep(std::uint32_t micro_batch, Mask mask) {
        const auto [at, is_new] = masks_.try_emplace(micro_batch);
        if (!is_new) {
            give_back(std::move(at->second));
        }
        at->second = std::move(mask);
    }
    Mask remove(std::uint32_t micro_batch) {
        const auto at = masks_.find(micro_batch);
        if (at == masks_.end()) {
            throw Error(fmt::format(
                "a gradient of micro-batch {} came, but its forward message "
                "did not pass here (or its gradient already did), so its mask "
                "is unknown; check that all ranks run the same plan",
                micro_batch));
        }
        Mask mask = std::move(at->second);
        masks_.erase(at);
        return mask;
    }

private:
    std::uint64_t kept_;
    std::map<std::uint32_t, Mask> masks_;
    std::vector<Mask> free_;
};

template <class Space>
class TopKCodec final : public Codec {
public:
    TopKCodec(const CodecPair& pair,
              const MatrixShape& shape,
              MemorySpace memory)
        : pair_(pair),
          shape_(shape),
          memory_(memory),
          selector_(shape, pair.forward.selection, pair.forward.kept, memory),
          masks_(pair.forward.kept),
          values_(detail::make_room<float, Space>("FusionLLM::TopK::values",
                                                  pair.forward.kept)) {}

    CodecSpec spec(Direction direction, const CodecKey&) const override {
        return pair_.of(direction);
    }

    void encode(Direction direction,
                const CodecKey& key,
                std::span<const float> numbers,
                std::span<std::byte> payload) override {
        FUSIONLLM_EXPECTS(numbers.size() == shape_.size());
        FUSIONLLM_EXPECTS(payload.size() ==
                          payload_bytes(pair_.of(direction), shape_));
        if (direction == Direction::forward) {
            const Mask mask = masks_.take();
            selector_.select(numbers, detail::span_of(mask));
            const std::size_t split = index_bytes();
            encode_indices(detail::span_of(mask),
                           shape_.size(),
                           payload.first(split),
                           memory_);
            encode_at(mask, direction, key, numbers, payload.subspan(split));
            release(mask, key);
        } else {
            const Mask mask = masks_.remove(key.micro_batch);
            encode_at(mask, direction, key, numbers, payload);
            masks_.give_back(mask);
        }
    }

    void decode(Direction direction,
                const CodecKey& key,
                const CodecSpec& spec,
                std::span<const std::byte> payload,
                std::span<float> numbers) override {
        FUSIONLLM_EXPECTS(numbers.size() == shape_.size());
        detail::check_message(
            spec, pair_.of(direction), payload.size(), shape_);
        if (direction == Direction::forward) {
            const Mask mask = masks_.take();
            const std::size_t split = index_bytes();
            decode_indices(payload.first(split),
                           shape_.size(),
                           detail::span_of(mask),
                           memory_);
            check_rows(mask);
            decode_at(mask, direction, key, payload.subspan(split), numbers);
            release(mask, key);
        } else {
            const Mask mask = masks_.remove(key.micro_batch);
            decode_at(mask, direction, key, payload, numbers);
            masks_.give_back(mask);
        }
    }

    std::vector<CodecState> state() const override { return {}; }
    void set_state(const std::vector<CodecState>& state) override {
        FUSIONLLM_VALIDATE(
            state.empty(),
            "a state of a codec (\"{}\" and perhaps more) is given to top-k, "
            "which keeps none; resume with the codec of the run before",
            state.front().name);
    }

private:
    using Mask = typename Masks<Space>::Mask;

    std::size_t index_bytes() const {
        return index_layout(shape_.size(), pair_.forward.kept).bytes();
    }

    void release(const Mask& mask, const CodecKey& key) {
        if (key.use == CodecKey::Use::training) {
            masks_.keep(key.micro_batch, mask);
        } else {
            masks_.give_back(mask);
        }
    }

    void encode_at(const Mask& mask,
                   Direction direction,
                   const CodecKey& key,
                   std::span<const float> numbers,
                   std::span<std::byte> block) {
        const CodecSpec& spec = pair_.of(direction);
        detail::gather(
            space_, numbers, detail::span_of(mask), detail::span_of(values_));
        encode_values(spec.values,
                      spec.rounding,
                      key.random,
                      detail::span_of(values_),
                      block,
                      memory_);
    }

    void decode_at(const Mask& mask,
                   Direction direction,
                   const CodecKey& key,
                   std::span<const std::byte> block,
                   std::span<float> numbers) {
        const CodecSpec& spec = pair_.of(direction);
        decode_values(spec.values,
                      spec.rounding,
                      key.random,
                      block,
                      detail::span_of(values_),
                      memory_);
        detail::scatter(
            space_, detail::span_of(values_), detail::span_of(mask), numbers);
    }

    void check_rows(const Mask& mask) const {
        if (pair_.forward.selection != Selection::row || mask.size() == 0) {
            return;
        }
        std::uint64_t num_strays = 0;
        Kokkos::parallel_reduce(
            "FusionLLM::TopK::check_rows",
            detail::MoveRange<Space>(space_, 0, shape_.rows),
            CountStrayRows{
                mask.data(), shape_.columns, mask.size() / shape_.rows},
            num_strays);
        if (num_strays > 0) {
            throw Error(
                fmt::format("the indices of a message cannot be used: those of "
                            "{} of {} rows are not in their row; check that "
                            "all ranks run the same version of fusionllm",
                            num_strays,
                            shape_.rows));
        }
    }

    CodecPair pair_;
    MatrixShape shape_;
    MemorySpace memory_;
    Space space_;
    TopKSelector selector_;
    Masks<Space> masks_;
    Kokkos::View<float*, Space> values_;  //!< on their way
};

}  // namespace

void detail::check_message(const CodecSpec& found,
                           const CodecSpec& expected,
                           std::size_t payload_size,
                           const MatrixShape& shape) {
    if (found != expected) {
        throw Error(
            fmt::format("a message is encoded as {}, and {} is expected; check "
                        "that all ranks run the same plan",
                        to_text(found),
                        to_text(expected)));
    }
    const std::size_t size = payload_bytes(expected, shape);
    if (payload_size != size) {
        throw Error(
            fmt::format("a payload has {} bytes instead of {}; check "
                        "that all ranks run the same plan",
                        payload_size,
                        size));
    }
}

std::unique_ptr<Codec> make_top_k_codec(const CodecChoice& choice,
                                        const MatrixShape& shape,
                                        MemorySpace space) {
    FUSIONLLM_EXPECTS(choice.id == CodecId::top_k && shape.size() > 0);
    return detail::make_for<TopKCodec, Codec>(
        space, resolve(choice, shape), shape, space);
}

}  // namespace fusionllm
