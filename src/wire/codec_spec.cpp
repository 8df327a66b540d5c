#include "fusionllm/wire/codec_spec.hpp"

#include <bit>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

constexpr std::uint64_t least_columns = 16;
// So that no product of sizes overflows, whatever a message says.
constexpr std::uint64_t most_elements = std::uint64_t{1} << 40;
constexpr std::uint64_t most_vectors = std::uint64_t{1} << 16;

constexpr std::uint64_t whole_words(std::uint64_t bytes) {
    return (bytes + 7) / 8 * 8;
}

constexpr std::uint64_t bytes_of_bits(std::uint64_t bits) {
    return whole_words((bits + 7) / 8);
}

bool is_known(const CodecSpec& spec) {
    return spec.id <= CodecId::paper_top_k &&
           spec.values <= ValueFormat::graded5 &&
           spec.rounding <= Rounding::stochastic &&
           spec.selection <= Selection::row;
}

std::string find_kept_problem(const CodecSpec& spec, const MatrixShape& shape) {
    const std::uint64_t most =
        spec.id == CodecId::subspace ? shape.columns : shape.size();
    if (spec.kept > most) {
        return fmt::format("it keeps {} of {}", spec.kept, most);
    }
    if (spec.id == CodecId::subspace &&
        (spec.kept == 0 || spec.kept > most_vectors)) {
        return fmt::format("its basis has {} vectors", spec.kept);
    }
    if (spec.selection == Selection::row && shape.rows > 0 &&
        spec.kept % shape.rows != 0) {
        return fmt::format(
            "it keeps {} elements, which {} rows cannot share "
            "equally",
            spec.kept,
            shape.rows);
    }
    return "";
}

}  // namespace

MatrixShape matrix_shape(const TensorType& type) {
    const auto size = static_cast<std::uint64_t>(num_elements(type));
    if (size == 0) {
        return {};
    }
    std::uint64_t columns = 1;
    for (std::size_t dim = type.sizes.size();
         dim-- > 0 && columns < least_columns;) {
        columns *= static_cast<std::uint64_t>(type.sizes[dim]);
    }
    return {size / columns, columns};
}

std::string find_spec_problem(const CodecSpec& spec, const MatrixShape& shape) {
    if (!is_known(spec)) {
        return "its codec is unknown";
    }
    if (shape.size() > most_elements) {
        return fmt::format(
            "its tensor has {} elements, more than can be "
            "encoded",
            shape.size());
    }
    const bool is_masked = spec.id == CodecId::top_k ||
                           spec.id == CodecId::masked ||
                           spec.id == CodecId::paper_top_k;
    if (is_masked || spec.id == CodecId::subspace) {
        const std::string problem = find_kept_problem(spec, shape);
        if (!problem.empty()) {
            return problem;
        }
    } else if (spec.kept != 0) {
        return "it keeps only some elements, but its codec keeps all";
    }
    if (spec.carries_basis && spec.id != CodecId::subspace) {
        return "it carries a basis, but its codec has none";
    }
    if (spec.rows_differ && spec.id != CodecId::subspace) {
        return "its rows have scales, but its codec has none of rows";
    }
    if (spec.selection == Selection::row && !is_masked) {
        return "it selects from rows, but its codec does not select";
    }
    if (spec.rounding == Rounding::stochastic && !has_scales(spec.values)) {
        return "it rounds stochastically, but not to integers";
    }
    bool fits = spec.values != ValueFormat::native &&
                (!is_graded(spec.values) || spec.id == CodecId::subspace);
    if (spec.id == CodecId::dense) {
        fits = !has_scales(spec.values);
    } else if (spec.id == CodecId::quantised) {
        fits &= has_scales(spec.values);
    } else if (spec.id == CodecId::paper_top_k) {
        fits = spec.values == ValueFormat::f32 &&
               spec.selection == Selection::tensor;
    }
    return fits ? ""
                : fmt::format("its codec does not send {} values",
                              to_text(spec.values));
}

int value_bits(ValueFormat format) {
    switch (format) {
        case ValueFormat::native:
        case ValueFormat::f32:
            return 32;
        case ValueFormat::bf16:
        case ValueFormat::f16:
            return 16;
        case ValueFormat::int8:
            return 8;
        case ValueFormat::int4:
        case ValueFormat::graded:
            return 4;
        case ValueFormat::int6:
        case ValueFormat::graded6:
            return 6;
        case ValueFormat::int5:
        case ValueFormat::graded5:
            return 5;
        case ValueFormat::int3:
            return 3;
        case ValueFormat::int2:
            return 2;
    }
    return 32;
}

bool has_scales(ValueFormat format) {
    return format >= ValueFormat::int8;
}

bool is_graded(ValueFormat format) {
    return format == ValueFormat::graded || format == ValueFormat::graded6 ||
           format == ValueFormat::graded5;
}

std::size_t scale_bytes(ValueFormat format, std::uint64_t num_values) {
    if (!has_scales(format)) {
        return 0;
    }
    return whole_words((num_values + tile_size - 1) / tile_size * 2);
}

std::size_t value_block_bytes(ValueFormat format, std::uint64_t num_values) {
    return scale_bytes(format, num_values) +
           bytes_of_bits(num_values *
                         static_cast<std::uint64_t>(value_bits(format)));
}

std::size_t row_level_bytes(const CodecSpec& spec, std::uint64_t rows) {
    if (!has_scales(spec.values)) {
        return 0;
    }
    return whole_words(2 + (rows * (spec.rows_differ ? 8 : 4) + 7) / 8);
}

ValueFormat graded_format(std::uint8_t bits) {
    switch (bits) {
        case 8:
            return ValueFormat::int8;
        case 6:
            return ValueFormat::int6;
        case 5:
            return ValueFormat::int5;
        case 4:
            return ValueFormat::int4;
        case 3:
            return ValueFormat::int3;
        default:
            FUSIONLLM_EXPECTS(bits == 2);
            return ValueFormat::int2;
    }
}

std::size_t graded_bytes(std::span<const std::uint8_t> bits,
                         std::uint64_t rows) {
    std::size_t bytes = 0;
    for (const std::uint8_t b : bits) {
        bytes += b == 0 ? 0 : value_block_bytes(graded_format(b), rows);
    }
    return bytes;
}

std::string find_bits_problem(ValueFormat graded,
                              std::span<const std::uint8_t> bits,
                              std::uint64_t rows) {
    for (std::size_t j = 0; j < bits.size(); ++j) {
        const std::uint8_t b = bits[j];
        if (b == 1 || b == 7 || b > 8) {
            return fmt::format("vector {} has {} bits", j, b);
        }
    }
    const std::size_t bytes = graded_bytes(bits, rows);
    const std::size_t most = bits.size() * value_block_bytes(graded, rows);
    return bytes <= most ? ""
                         : fmt::format(
                               "its vectors take {} bytes, more than "
                               "the {} of the message",
                               bytes,
                               most);
}

std::uint64_t basis_rows(const CodecSpec& spec, const MatrixShape& shape) {
    return shape.columns + (is_graded(spec.values) ? 1 : 0);
}

IndexLayout index_layout(std::uint64_t num_elements, std::uint64_t num_kept) {
    FUSIONLLM_EXPECTS(num_kept <= num_elements);
    if (num_kept == 0 || num_kept == num_elements) {
        return {};
    }
    IndexLayout packed;
    packed.kind = IndexLayout::Kind::elias_fano;
    packed.low_bits =
        static_cast<int>(std::bit_width(num_elements / num_kept)) - 1;
    packed.low_bytes =
        bytes_of_bits(num_kept * static_cast<std::uint64_t>(packed.low_bits));
    packed.high_bytes =
        bytes_of_bits(num_kept + (num_elements >> packed.low_bits) + 1);
    const IndexLayout bitmap{
        IndexLayout::Kind::bitmap, 0, 0, bytes_of_bits(num_elements)};
    return bitmap.bytes() <= packed.bytes() ? bitmap : packed;
}

std::size_t payload_bytes(const CodecSpec& spec, const MatrixShape& shape) {
    FUSIONLLM_EXPECTS(find_spec_problem(spec, shape).empty());
    FUSIONLLM_EXPECTS(spec.values != ValueFormat::native);
    switch (spec.id) {
        case CodecId::dense:
        case CodecId::quantised:
            return value_block_bytes(spec.values, shape.size());
        case CodecId::top_k:
            return index_layout(shape.size(), spec.kept).bytes() +
                   value_block_bytes(spec.values, spec.kept);
        case CodecId::masked:
            return value_block_bytes(spec.values, spec.kept);
        case CodecId::subspace: {
            const std::uint64_t basis =
                spec.carries_basis
                    ? value_block_bytes(ValueFormat::f16,
                                        basis_rows(spec, shape) * spec.kept)
                    : 0;
            return basis + row_level_bytes(spec, shape.rows) +
                   spec.kept * value_block_bytes(spec.values, shape.rows);
        }
        case CodecId::paper_top_k:
            return 8 * spec.kept + whole_words(4 * spec.kept);
    }
    return 0;
}

std::string to_text(ValueFormat format) {
    switch (format) {
        case ValueFormat::native:
            return "native";
        case ValueFormat::f32:
            return "fp32";
        case ValueFormat::bf16:
            return "bf16";
        case ValueFormat::f16:
            return "fp16";
        case ValueFormat::int8:
            return "int8";
        case ValueFormat::int4:
            return "int4";
        case ValueFormat::int3:
            return "int3";
        case ValueFormat::int2:
            return "int2";
        case ValueFormat::graded:
            return "graded";
        case ValueFormat::int6:
            return "int6";
        case ValueFormat::int5:
            return "int5";
        case ValueFormat::graded6:
            return "graded6";
        case ValueFormat::graded5:
            return "graded5";
    }
    return fmt::format("format {}", static_cast<int>(format));
}

std::string to_text(const CodecSpec& spec) {
    const std::string values =
        to_text(spec.values) +
        (spec.rounding == Rounding::stochastic ? "s" : "");
    const char* rows = spec.selection == Selection::row ? " by row" : "";
    switch (spec.id) {
        case CodecId::dense:
        case CodecId::quantised:
            return values;
        case CodecId::top_k:
            return fmt::format("top-k of {}{}, {}", spec.kept, rows, values);
        case CodecId::masked:
            return fmt::format(
                "values of a mask of {}{}, {}", spec.kept, rows, values);
        case CodecId::subspace:
            return fmt::format("subspace of {}{}, {}",
                               spec.kept,
                               spec.carries_basis ? " with its basis" : "",
                               values);
        case CodecId::paper_top_k:
            return fmt::format("paper's top-k of {}", spec.kept);
    }
    return fmt::format("codec {}", static_cast<int>(spec.id));
}

}  // namespace fusionllm
