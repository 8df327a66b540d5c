#include "subspace_codec.hpp"

#include <cmath>
#include <cstring>

#include "fusionllm/codec/value_block.hpp"
#include "fusionllm/util/random.hpp"

#include "execution.hpp"
#include "matrix_product.hpp"
#include "subspace_basis.hpp"
#include "top_k_move.hpp"
#include "value_bits.hpp"

namespace fusionllm {
namespace {

CodecSpec dense_f32() {
    CodecSpec spec;
    spec.values = ValueFormat::f32;
    return spec;
}

template <class Execution>
class SubspaceCodec final : public Codec {
public:
    SubspaceCodec(const Execution& execution,
                  const CodecChoice& choice,
                  const MatrixShape& shape,
                  MemorySpace space)
        : execution_(execution),
          specs_(resolve(choice, shape)),
          shape_(shape),
          kept_(specs_.forward.kept),
          space_(space),
          head_bytes_(
              value_block_bytes(ValueFormat::f16, shape.columns * kept_)),
          basis_device_("FusionLLM::Subspace::basis", shape.columns * kept_),
          to_coefficients_("FusionLLM::Subspace::to_coefficients",
                           shape.columns * detail::whole_lanes(kept_)),
          to_numbers_("FusionLLM::Subspace::to_numbers",
                      kept_ * detail::whole_lanes(shape.columns)),
          coefficients_("FusionLLM::Subspace::coefficients",
                        kept_ * shape.rows) {}

    CodecSpec spec(Direction direction, const CodecKey& key) const override {
        const bool is_training = key.use == CodecKey::Use::training;
        if (!is_training && basis_.empty()) {
            return dense_f32();
        }
        CodecSpec spec = specs_.of(direction);
        spec.carries_basis = direction == Direction::forward && is_training &&
                             (key.wants_new_basis || basis_.empty());
        return spec;
    }

    void encode(Direction direction,
                const CodecKey& key,
                std::span<const float> numbers,
                std::span<std::byte> payload) override {
        const CodecSpec spec = this->spec(direction, key);
        FUSIONLLM_EXPECTS(numbers.size() == shape_.size());
        FUSIONLLM_EXPECTS(payload.size() == payload_bytes(spec, shape_));
        if (spec.id == CodecId::dense) {
            encode_values(
                spec.values, spec.rounding, 0, numbers, payload, space_);
            return;
        }
        if (spec.carries_basis) {
            set_basis(find_basis(numbers, shape_, kept_, basis_, space_));
            encode_values(ValueFormat::f16,
                          Rounding::nearest,
                          0,
                          detail::span_of(basis_device_),
                          payload.first(head_bytes_),
                          space_);
            payload = payload.subspan(head_bytes_);
        }
        expect_basis();
        find_coefficients(numbers);
        const std::size_t bytes = value_block_bytes(spec.values, shape_.rows);
        for (std::uint64_t j = 0; j < kept_; ++j) {
            encode_values(spec.values,
                          spec.rounding,
                          derive_key(key.random, j),
                          detail::span_of(coefficients_)
                              .subspan(j * shape_.rows, shape_.rows),
                          payload.subspan(j * bytes, bytes),
                          space_);
        }
    }

    void decode(Direction direction,
                const CodecKey& key,
                const CodecSpec& spec,
                std::span<const std::byte> payload,
                std::span<float> numbers) override {
        FUSIONLLM_EXPECTS(numbers.size() == shape_.size());
        detail::check_message(
            spec, expected(direction, key, spec), payload.size(), shape_);
        if (spec.id == CodecId::dense) {
            decode_values(spec.values, payload, numbers, space_);
            return;
        }
        if (spec.carries_basis) {
            take_basis(payload.first(head_bytes_));
            payload = payload.subspan(head_bytes_);
        }
        expect_basis();
        const std::size_t bytes = value_block_bytes(spec.values, shape_.rows);
        for (std::uint64_t j = 0; j < kept_; ++j) {
            decode_values(spec.values,
                          payload.subspan(j * bytes, bytes),
                          detail::span_of(coefficients_)
                              .subspan(j * shape_.rows, shape_.rows),
                          space_);
        }
        find_numbers(numbers);
    }

    std::vector<CodecState> state() const override {
        if (basis_.empty()) {
            return {};
        }
        CodecState state{"basis", {basis_type(), {}}};
        state.tensor.bytes.resize(num_bytes(state.tensor.type));
        for (std::size_t i = 0; i < basis_.size(); ++i) {
            const float number = detail::float_of_f16(basis_[i]);
            std::memcpy(&state.tensor.bytes[4 * i], &number, 4);
        }
        return {state};
    }

    void set_state(const std::vector<CodecState>& state) override {
        if (state.empty()) {
            basis_.clear();
            return;
        }
        FUSIONLLM_VALIDATE(
            state.size() == 1 && state.front().name == "basis",
            "a subspace keeps a 'basis', but {} states from '{}' on are to be "
            "set; use the checkpoint with the plan it was made with",
            state.size(),
            state.front().name);
        const HostTensor& tensor = state.front().tensor;
        FUSIONLLM_VALIDATE(
            tensor.type == basis_type() &&
                tensor.bytes.size() == num_bytes(basis_type()),
            "the basis of a subspace is {}, but one of {} is to be set; use "
            "the checkpoint with the plan it was made with",
            to_text(basis_type()),
            to_text(tensor.type));
        BasisBits basis(shape_.columns * kept_);
        for (std::size_t i = 0; i < basis.size(); ++i) {
            float number = 0;
            std::memcpy(&number, &tensor.bytes[4 * i], 4);
            basis[i] = detail::f16_of(number);
            FUSIONLLM_VALIDATE(
                detail::float_of_f16(basis[i]) == number &&
                    std::isfinite(number),
                "number {} of a subspace's basis is {}, which is no finite "
                "f16; the checkpoint is damaged",
                i,
                number);
        }
        set_basis(std::move(basis));
    }

private:
    using Memory = typename Execution::memory_space;
    template <class Number>
    using View = Kokkos::View<Number*, Memory>;
    using Policy =
        Kokkos::RangePolicy<Execution, Kokkos::IndexType<std::uint64_t>>;

    Execution execution_;
    CodecPair specs_;
    MatrixShape shape_;
    std::uint64_t kept_;
    MemorySpace space_;
    std::size_t head_bytes_;
    BasisBits basis_;               // empty before the first
    View<float> basis_device_;      // (columns, kept)
    View<double> to_coefficients_;  // (columns, whole lanes of kept)
    View<double> to_numbers_;       // (kept, whole lanes of columns)
    View<float> coefficients_;      // (kept, rows)

    TensorType basis_type() const {
        return {DType::f32,
                {static_cast<std::int64_t>(shape_.columns),
                 static_cast<std::int64_t>(kept_)}};
    }

    void expect_basis() const {
        if (basis_.empty()) {
            throw Error(
                "a message has coefficients of a basis that never came; the "
                "first forward message of a subspace carries it");
        }
    }

    //! What the other end may send, as near as possible to what came.
    CodecSpec expected(Direction direction,
                       const CodecKey& key,
                       const CodecSpec& came) const {
        const bool is_training = key.use == CodecKey::Use::training;
        if (!is_training && came.id == CodecId::dense) {
            return dense_f32();
        }
        CodecSpec spec = specs_.of(direction);
        spec.carries_basis = came.carries_basis && is_training &&
                             direction == Direction::forward;
        return spec;
    }

    void take_basis(std::span<const std::byte> head) {
        decode_values(
            ValueFormat::f16, head, detail::span_of(basis_device_), space_);
        const auto numbers = Kokkos::create_mirror_view_and_copy(
            Kokkos::HostSpace(), basis_device_);
        BasisBits basis(numbers.size());
        for (std::size_t i = 0; i < basis.size(); ++i) {
            if (!std::isfinite(numbers(i))) {
                throw Error(fmt::format(
                    "number {} of the basis that a message carries is not "
                    "finite; it was damaged",
                    i));
            }
            basis[i] = detail::f16_of(numbers(i));
        }
        set_basis(std::move(basis));
    }

    void set_basis(BasisBits basis) {
        basis_ = std::move(basis);
        const auto plain = Kokkos::create_mirror_view(basis_device_);
        const auto v = Kokkos::create_mirror_view(to_coefficients_);
        const auto v_transposed = Kokkos::create_mirror_view(to_numbers_);
        const std::uint64_t width = detail::whole_lanes(kept_);
        const std::uint64_t height = detail::whole_lanes(shape_.columns);
        for (std::uint64_t c = 0; c < shape_.columns; ++c) {
            for (std::uint64_t j = 0; j < kept_; ++j) {
                const float number =
                    detail::float_of_f16(basis_[c * kept_ + j]);
                plain(c * kept_ + j) = number;
                v(c * width + j) = number;
                v_transposed(j * height + c) = number;
            }
        }
        Kokkos::deep_copy(basis_device_, plain);
        Kokkos::deep_copy(to_coefficients_, v);
        Kokkos::deep_copy(to_numbers_, v_transposed);
    }

    //! C = X V, transposed: a vector's coefficients lie together.
    void find_coefficients(std::span<const float> numbers) {
        const detail::Product<2, detail::AddTo::zero, double, float> product{
            numbers.data(),
            shape_.columns,
            1,
            to_coefficients_.data(),
            coefficients_.data(),
            1,
            shape_.rows,
            shape_.rows,
            kept_,
            shape_.columns};
        Kokkos::parallel_for("FusionLLM::Subspace::find_coefficients",
                             Policy(execution_, 0, product.num_items()),
                             product);
        execution_.fence();
    }

    //! X' = C V^T
    void find_numbers(std::span<float> numbers) {
        const detail::Product<2, detail::AddTo::zero, double, float> product{
            coefficients_.data(),
            1,
            shape_.rows,
            to_numbers_.data(),
            numbers.data(),
            shape_.columns,
            1,
            shape_.rows,
            shape_.columns,
            kept_};
        Kokkos::parallel_for("FusionLLM::Subspace::find_numbers",
                             Policy(execution_, 0, product.num_items()),
                             product);
        execution_.fence();
    }
};

}  // namespace

std::unique_ptr<Codec> make_subspace_codec(const CodecChoice& choice,
                                           const MatrixShape& shape,
                                           MemorySpace space) {
    return detail::with_execution(
        space, [&](const auto& execution) -> std::unique_ptr<Codec> {
            using Execution = std::decay_t<decltype(execution)>;
            return std::make_unique<SubspaceCodec<Execution>>(
                execution, choice, shape, space);
        });
}

}  // namespace fusionllm
