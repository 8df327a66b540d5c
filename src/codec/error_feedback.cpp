#include "error_feedback.hpp"

#include <array>
#include <cstring>
#include <utility>

#include "fusionllm/util/error.hpp"

#include "execution.hpp"
#include "top_k_move.hpp"

namespace fusionllm {
namespace {

struct Add {
    const float* numbers;
    const float* residual;
    float* sum;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t i) const {
        sum[i] = numbers[i] + residual[i];
    }
};

struct SubtractFrom {
    const float* sum;
    float* decoded;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t i) const {
        const float rest = sum[i] - decoded[i];
        // A step with NaN or infinity is skipped; the next ones shall not
        // inherit it.
        decoded[i] = rest - rest == 0 ? rest : 0.0f;
    }
};

constexpr Direction directions[] = {Direction::forward, Direction::backward};

std::string residual_name(Direction direction) {
    return direction == Direction::forward ? "forward_residual"
                                           : "backward_residual";
}

template <class Execution>
class ErrorFeedback final : public Codec {
public:
    ErrorFeedback(const Execution& execution,
                  std::unique_ptr<Codec> codec,
                  std::unique_ptr<Codec> listener,
                  const MatrixShape& shape)
        : execution_(execution),
          codec_(std::move(codec)),
          listener_(std::move(listener)),
          shape_(shape) {}

    CodecSpec spec(Direction direction, const CodecKey& key) const override {
        return codec_->spec(direction, key);
    }

    void encode(Direction direction,
                const CodecKey& key,
                std::span<const float> numbers,
                std::span<std::byte> payload) override {
        if (key.use == CodecKey::Use::evaluation) {
            codec_->encode(direction, key, numbers, payload);
            return;
        }
        FUSIONLLM_EXPECTS(numbers.size() == shape_.size());
        Residual& residual = make_residual(direction);
        if (sum_.size() == 0) {
            sum_ = Residual("FusionLLM::ErrorFeedback::sum", shape_.size());
        }
        Kokkos::parallel_for("FusionLLM::ErrorFeedback::add",
                             all(),
                             Add{numbers.data(), residual.data(), sum_.data()});
        execution_.fence();
        // Encoding may change what the next message is.
        const CodecSpec spec = codec_->spec(direction, key);
        codec_->encode(direction, key, detail::span_of(sum_), payload);
        Codec& decoder = listener_ ? *listener_ : *codec_;
        decoder.decode(
            direction, key, spec, payload, detail::span_of(residual));
        Kokkos::parallel_for("FusionLLM::ErrorFeedback::subtract",
                             all(),
                             SubtractFrom{sum_.data(), residual.data()});
        execution_.fence();
    }

    void decode(Direction direction,
                const CodecKey& key,
                const CodecSpec& spec,
                std::span<const std::byte> payload,
                std::span<float> numbers) override {
        codec_->decode(direction, key, spec, payload, numbers);
        if (listener_ && key.use == CodecKey::Use::training) {
            listener_->decode(direction, key, spec, payload, numbers);
        }
    }

    std::vector<CodecState> state() const override {
        std::vector<CodecState> states = codec_->state();
        for (const Direction direction : directions) {
            const Residual& residual = residual_of(direction);
            if (residual.size() == 0) {
                continue;
            }
            const auto host = Kokkos::create_mirror_view_and_copy(
                Kokkos::HostSpace(), residual);
            CodecState state{residual_name(direction), {type(), {}}};
            state.tensor.bytes.resize(num_bytes(type()));
            std::memcpy(state.tensor.bytes.data(),
                        host.data(),
                        state.tensor.bytes.size());
            states.push_back(std::move(state));
        }
        return states;
    }

    void set_state(const std::vector<CodecState>& states) override {
        std::vector<CodecState> inner;
        std::array<const HostTensor*, 2> found{};
        for (const CodecState& state : states) {
            bool is_residual = false;
            for (const Direction direction : directions) {
                if (state.name == residual_name(direction)) {
                    is_residual = true;
                    check(state);
                    found[index_of(direction)] = &state.tensor;
                }
            }
            if (!is_residual) {
                inner.push_back(state);
            }
        }
        codec_->set_state(inner);
        if (listener_) {
            listener_->set_state(inner);
        }
        for (const Direction direction : directions) {
            set_residual(direction, found[index_of(direction)]);
        }
    }

private:
    using Memory = typename Execution::memory_space;
    using Residual = Kokkos::View<float*, Memory>;
    using Policy =
        Kokkos::RangePolicy<Execution, Kokkos::IndexType<std::uint64_t>>;

    Execution execution_;
    std::unique_ptr<Codec> codec_;
    std::unique_ptr<Codec> listener_;
    MatrixShape shape_;
    std::array<Residual, 2> residuals_;  // empty until something is encoded
    Residual sum_;

    static std::size_t index_of(Direction direction) {
        return direction == Direction::forward ? 0 : 1;
    }
    const Residual& residual_of(Direction direction) const {
        return residuals_[index_of(direction)];
    }
    Residual& make_residual(Direction direction) {
        Residual& residual = residuals_[index_of(direction)];
        if (residual.size() == 0) {
            residual =
                Residual("FusionLLM::ErrorFeedback::residual", shape_.size());
        }
        return residual;
    }
    Policy all() const { return Policy(execution_, 0, shape_.size()); }

    TensorType type() const {
        return {DType::f32,
                {static_cast<std::int64_t>(shape_.rows),
                 static_cast<std::int64_t>(shape_.columns)}};
    }

    void check(const CodecState& state) const {
        FUSIONLLM_VALIDATE(
            state.tensor.type == type() &&
                state.tensor.bytes.size() == num_bytes(type()),
            "the '{}' of a codec is {}, but one of {} is to be set; use the "
            "checkpoint with the plan it was made with",
            state.name,
            to_text(type()),
            to_text(state.tensor.type));
    }

    void set_residual(Direction direction, const HostTensor* tensor) {
        if (tensor == nullptr) {
            residuals_[index_of(direction)] = {};
            return;
        }
        const Residual& residual = make_residual(direction);
        const auto host = Kokkos::create_mirror_view(residual);
        std::memcpy(host.data(), tensor->bytes.data(), tensor->bytes.size());
        Kokkos::deep_copy(residual, host);
    }
};

}  // namespace

std::unique_ptr<Codec> make_error_feedback(std::unique_ptr<Codec> codec,
                                           std::unique_ptr<Codec> listener,
                                           const MatrixShape& shape,
                                           MemorySpace space) {
    return detail::with_execution(
        space, [&](const auto& execution) -> std::unique_ptr<Codec> {
            using Execution = std::decay_t<decltype(execution)>;
            return std::make_unique<ErrorFeedback<Execution>>(
                execution, std::move(codec), std::move(listener), shape);
        });
}

}  // namespace fusionllm
