#include "subspace_codec.hpp"

#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "fusionllm/codec/graded_bits.hpp"
#include "fusionllm/codec/value_block.hpp"
#include "fusionllm/util/random.hpp"

#include "coefficients.hpp"
#include "execution.hpp"
#include "product_kernel.hpp"
#include "row_scales.hpp"
#include "subspace_basis.hpp"
#include "top_k_move.hpp"
#include "value_bits.hpp"

namespace fusionllm {
namespace {

constexpr CodecSpec dense_f32{.values = ValueFormat::f32};

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
          basis_rows_(basis_rows(specs_.forward, shape)),
          head_bytes_(value_block_bytes(ValueFormat::f16, basis_rows_ * kept_)),
          basis_device_("FusionLLM::Subspace::basis", basis_rows_ * kept_),
          to_coefficients_("FusionLLM::Subspace::to_coefficients",
                           shape.columns * detail::whole_panels<float>(kept_)),
          to_numbers_("FusionLLM::Subspace::to_numbers",
                      kept_ * detail::whole_panels<float>(shape.columns)),
          coefficients_("FusionLLM::Subspace::coefficients",
                        kept_ * shape.rows),
          row_scales_(execution, shape.rows, kept_) {}

    CodecSpec spec(Direction direction, const CodecKey& key) const override {
        const bool is_training = key.use == CodecKey::Use::training;
        if (!is_training && basis_.empty()) {
            return dense_f32;
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
        const CodecSpec chosen = spec(direction, key);
        FUSIONLLM_EXPECTS(numbers.size() == shape_.size());
        FUSIONLLM_EXPECTS(payload.size() == payload_bytes(chosen, shape_));
        if (chosen.id == CodecId::dense) {
            return encode_values(
                chosen.values, chosen.rounding, 0, numbers, payload, space_);
        }
        if (chosen.carries_basis) {
            make_basis(numbers, payload.subspan(head_bytes_));
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
        if (has_scales(chosen.values)) {
            payload = row_scales_.divide(chosen, coefficients_.data(), payload);
        }
        for (std::uint64_t j = 0; j < kept_; ++j) {
            if (const auto format = format_of(chosen, j)) {
                const auto bytes = value_block_bytes(*format, shape_.rows);
                encode_values(*format,
                              chosen.rounding,
                              derive_key(key.random, j),
                              coefficients_of(j),
                              payload.first(bytes),
                              space_);
                payload = payload.subspan(bytes);
            }
        }
        detail::fill_with_zeros(execution_, payload);
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
            return decode_values(
                spec.values, spec.rounding, 0, payload, numbers, space_);
        }
        if (spec.carries_basis) {
            take_basis(payload.first(head_bytes_));
            payload = payload.subspan(head_bytes_);
        }
        expect_basis();
        if (has_scales(spec.values)) {
            payload = row_scales_.read(spec, payload);
        }
        for (std::uint64_t j = 0; j < kept_; ++j) {
            const auto format = format_of(spec, j);
            if (!format) {
                detail::fill_with_zeros(
                    execution_, std::as_writable_bytes(coefficients_of(j)));
                continue;
            }
            const auto bytes = value_block_bytes(*format, shape_.rows);
            decode_values(*format,
                          spec.rounding,
                          derive_key(key.random, j),
                          payload.first(bytes),
                          coefficients_of(j),
                          space_);
            payload = payload.subspan(bytes);
        }
        if (has_scales(spec.values)) {
            row_scales_.multiply(coefficients_.data());
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
        BasisBits basis(basis_rows_ * kept_);
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
        const std::string problem = find_problem(basis);
        FUSIONLLM_VALIDATE(problem.empty(),
                           "the basis of a subspace is damaged: {}; use "
                           "another checkpoint",
                           problem);
        set_basis(std::move(basis));
    }

private:
    using Memory = typename Execution::memory_space;
    template <class Number>
    using View = Kokkos::View<Number*, Memory>;
    Execution execution_;
    CodecPair specs_;
    MatrixShape shape_;
    std::uint64_t kept_;
    MemorySpace space_;
    std::uint64_t basis_rows_;  // columns, and one for bits
    std::size_t head_bytes_;
    BasisBits basis_;                 // empty before the first
    std::vector<std::uint8_t> bits_;  // of its vectors, with graded values
    View<float> basis_device_;        // (basis rows, kept)
    View<float> to_coefficients_;     // (columns, kept), in panels
    View<float> to_numbers_;          // (kept, columns), in panels
    View<float> coefficients_;        // (kept, rows)
    detail::RowScales<Execution> row_scales_;

    TensorType basis_type() const {
        return {DType::f32,
                {static_cast<std::int64_t>(basis_rows_),
                 static_cast<std::int64_t>(kept_)}};
    }

    bool is_graded() const {
        return fusionllm::is_graded(specs_.forward.values);
    }

    //! How vector j is sent, or none if it is not.
    std::optional<ValueFormat> format_of(const CodecSpec& spec,
                                         std::uint64_t j) const {
        if (!is_graded()) {
            return spec.values;
        }
        const std::uint8_t bits = bits_[j];
        if (bits == 0) {
            return std::nullopt;
        }
        return fusionllm::is_graded(spec.values) ? graded_format(bits)
                                                 : spec.values;
    }

    std::span<float> coefficients_of(std::uint64_t j) {
        return detail::span_of(coefficients_)
            .subspan(j * shape_.rows, shape_.rows);
    }

    //! Half a sentence; "" if there is none.
    std::string find_problem(const BasisBits& basis) const {
        return is_graded() ? find_bits_problem(specs_.forward.values,
                                               read_bits(basis, kept_),
                                               shape_.rows)
                           : "";
    }

    //! `scratch` is as large as a payload without a basis.
    void make_basis(std::span<const float> numbers,
                    std::span<std::byte> scratch) {
        BasisBits previous = basis_;
        previous.resize(basis_.empty() ? 0 : shape_.columns * kept_);
        BasisBits basis = find_basis(
            numbers,
            shape_,
            kept_,
            previous,
            is_graded() ? WholeSpace::components : WholeSpace::unit_vectors,
            space_);
        if (!is_graded()) {
            set_basis(std::move(basis));
            return;
        }
        basis.resize(basis_rows_ * kept_);
        set_basis(basis);
        find_coefficients(numbers);
        row_scales_.divide(specs_.forward, coefficients_.data(), scratch);
        const std::vector<std::uint8_t> bits = grade_bits(
            specs_.forward.values,
            detail::sum_squares(execution_, coefficients_, shape_.rows, kept_),
            shape_.rows);
        for (std::uint64_t j = 0; j < kept_; ++j) {
            basis[shape_.columns * kept_ + j] = detail::f16_of(bits[j]);
        }
        set_basis(std::move(basis));
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
            return dense_f32;
        }
        CodecSpec spec = specs_.of(direction);
        spec.carries_basis = came.carries_basis && is_training &&
                             direction == Direction::forward;
        return spec;
    }

    void take_basis(std::span<const std::byte> head) {
        const auto vectors = detail::span_of(basis_device_);
        decode_values(
            ValueFormat::f16, Rounding::nearest, 0, head, vectors, space_);
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
        const std::string problem = find_problem(basis);
        if (!problem.empty()) {
            throw Error(fmt::format(
                "the basis that a message carries is damaged: {}", problem));
        }
        set_basis(std::move(basis));
    }

    void set_basis(BasisBits basis) {
        basis_ = std::move(basis);
        bits_ = is_graded() ? read_bits(basis_, kept_)
                            : std::vector<std::uint8_t>();
        const auto plain = Kokkos::create_mirror_view(basis_device_);
        const auto v = Kokkos::create_mirror_view(to_coefficients_);
        const auto v_transposed = Kokkos::create_mirror_view(to_numbers_);
        for (std::uint64_t i = 0; i < basis_.size(); ++i) {
            plain(i) = detail::float_of_f16(basis_[i]);
        }
        for (std::uint64_t c = 0; c < shape_.columns; ++c) {
            for (std::uint64_t j = 0; j < kept_; ++j) {
                const float number = plain(c * kept_ + j);
                v(detail::panel_index<float>(c, j, shape_.columns)) = number;
                v_transposed(detail::panel_index<float>(j, c, kept_)) = number;
            }
        }
        Kokkos::deep_copy(basis_device_, plain);
        Kokkos::deep_copy(to_coefficients_, v);
        Kokkos::deep_copy(to_numbers_, v_transposed);
    }

    //! C = X V, transposed: a vector's coefficients lie together.
    void find_coefficients(std::span<const float> numbers) {
        const detail::ProductKernel<Execution> kernel{
            {.a = numbers.data(),
             .a_row = shape_.columns,
             .a_inner = 1,
             .b = to_coefficients_.data(),
             .b_panel = shape_.columns * detail::panel_columns<float>,
             .out = coefficients_.data(),
             .out_row = 1,
             .out_column = shape_.rows,
             .out_panel = shape_.rows * detail::panel_columns<float>,
             .M = shape_.rows,
             .N = kept_,
             .K = shape_.columns,
             .add_to = detail::AddTo::zero}};
        Kokkos::parallel_for("FusionLLM::Subspace::find_coefficients",
                             detail::items_of(execution_, kernel),
                             kernel);
        execution_.fence();
    }

    //! X' = C V^T
    void find_numbers(std::span<float> numbers) {
        const detail::ProductKernel<Execution> kernel{
            {.a = coefficients_.data(),
             .a_row = 1,
             .a_inner = shape_.rows,
             .b = to_numbers_.data(),
             .b_panel = kept_ * detail::panel_columns<float>,
             .out = numbers.data(),
             .out_row = shape_.columns,
             .out_column = 1,
             .out_panel = detail::panel_columns<float>,
             .M = shape_.rows,
             .N = shape_.columns,
             .K = kept_,
             .add_to = detail::AddTo::zero}};
        Kokkos::parallel_for("FusionLLM::Subspace::find_numbers",
                             detail::items_of(execution_, kernel),
                             kernel);
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
