#include "fusionllm/codec/codec.hpp"

namespace fusionllm {

std::vector<std::pair<std::string, TensorType>> codec_state_types(
    const CodecChoice& choice, const MatrixShape& shape, Direction direction) {
    const auto matrix = [](std::uint64_t rows, std::uint64_t columns) {
        return TensorType{DType::f32,
                          {static_cast<std::int64_t>(rows),
                           static_cast<std::int64_t>(columns)}};
    };
    std::vector<std::pair<std::string, TensorType>> types;
    const bool is_forward = direction == Direction::forward;
    if (choice.id == CodecId::subspace && is_forward) {
        const CodecSpec spec = resolve(choice, shape).forward;
        types.emplace_back("basis", matrix(basis_rows(spec, shape), spec.kept));
    }
    if (choice.has_feedback) {
        types.emplace_back(
            is_forward ? "forward_residual" : "backward_residual",
            matrix(shape.rows, shape.columns));
    }
    return types;
}

}  // namespace fusionllm
