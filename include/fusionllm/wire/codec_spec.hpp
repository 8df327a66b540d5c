#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm {

//! How a payload is encoded; the numbers are those of messages and files.
enum class CodecId : std::uint8_t {
    dense = 0,        //!< all elements
    quantised = 1,    //!< all elements in few bits, a scale a tile
    top_k = 2,        //!< the largest elements, and which they are
    masked = 3,       //!< the elements of a mask that both ends have
    subspace = 4,     //!< coefficients of a basis that both ends have
    paper_top_k = 5,  //!< as we read the paper: i64 indices, f32 values
};

//! What a number becomes in a payload; the numbers are those of messages.
enum class ValueFormat : std::uint8_t {
    native = 0,  //!< the bytes of the tensor, of any dtype; dense only
    f32 = 1,
    bf16 = 2,
    f16 = 3,
    int8 = 4,  //!< this and below: bits of an integer times its tile's scale
    int4 = 5,
    int3 = 6,
    int2 = 7,
    //! As many bytes as int4, but more bits for the vectors of a subspace that
    //! hold more of the squares; forward only.
    graded = 8,
    int6 = 9,
    int5 = 10,
    graded6 = 11,  //!< as many bytes as int6
    graded5 = 12,
};

//! How integers are rounded; stochastic is unbiased, and exactly repeatable by
//! who has the key: `decode_values` needs it, too.
enum class Rounding : std::uint8_t { nearest = 0, stochastic = 1 };

//! Of what top-k takes the largest elements.
enum class Selection : std::uint8_t {
    tensor = 0,
    row = 1,  //!< equally many of every row (token)
};

//! Which way a message goes; backward are gradients.
enum class Direction : std::uint8_t { forward = 0, backward = 1 };

//! Consecutive values that share a scale.
inline constexpr std::uint64_t tile_size = 128;

//! A tensor as codecs see it: rows of elements that lie next to each other.
struct MatrixShape {
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;

    std::uint64_t size() const { return rows * columns; }
    friend bool operator==(const MatrixShape&, const MatrixShape&) = default;
};

/*!
 * Rows are as long as the last dimension, or as the last ones together while
 * those have less than 16 elements. {0, 0} for a tensor without elements.
 *
 * Codecs take the elements in row-major order, however they lie in memory, so
 * that sizes are a function of the type alone.
 */
MatrixShape matrix_shape(const TensorType& type);

//! Everything that the size and the meaning of a payload depend on, besides
//! the tensor's shape.
struct CodecSpec {
    CodecId id = CodecId::dense;
    ValueFormat values = ValueFormat::native;
    Rounding rounding = Rounding::nearest;
    Selection selection = Selection::tensor;
    //! top_k, masked, paper_top_k: elements in all (a multiple of the rows if
    //! each has its own); subspace: vectors of the basis; else 0.
    std::uint64_t kept = 0;
    bool carries_basis = false;  //!< subspace only
    //! subspace only: rows of any size keep their digits, for gradients of
    //! tokens differ by orders of magnitude; else those of about the same size.
    bool rows_differ = false;

    friend bool operator==(const CodecSpec&, const CodecSpec&) = default;
};

//! What goes forward and what comes back belong together: the gradient of a
//! mask is its values, that of a projection is projected.
struct CodecPair {
    CodecSpec forward;
    CodecSpec backward;

    const CodecSpec& of(Direction direction) const {
        return direction == Direction::forward ? forward : backward;
    }
    friend bool operator==(const CodecPair&, const CodecPair&) = default;
};

//! Why no payload can be like this, as half a sentence; "" if one can.
std::string find_spec_problem(const CodecSpec& spec, const MatrixShape& shape);

/*!
 * Bytes of a payload; known before anything is encoded. `spec` must be possible
 * and not native. With V(m) the bytes of a block of m values and I(n, k) those
 * of k indices below n:
 *
 *     dense        V(n)
 *     quantised    V(n)
 *     top_k        I(n, kept) + V(kept)
 *     masked       V(kept)
 *     subspace     [columns * kept * 2, the basis as f16, row by row of a
 *                  column; with graded values a last row: the bits of each
 *                  vector] + [`row_level_bytes`, if values have scales] +
 *                  kept * V(rows)
 *     paper_top_k  8 kept + 4 kept, rounded up to whole 8 bytes
 */
std::size_t payload_bytes(const CodecSpec& spec, const MatrixShape& shape);

/*!
 * A block of values, the parts rounded up to whole 8 bytes:
 *
 *     f32, bf16, f16   the values
 *     b bits           a bf16 scale for each 128 values, then b bits each, the
 *                      first in the lowest bits of the first byte
 *     graded           counted as 4 bits (graded5 as 5, graded6 as 6); see
 *                      `graded_bytes`
 */
std::size_t value_block_bytes(ValueFormat format, std::uint64_t num_values);
//! Of the basis that a subspace's message carries: columns, and the bits of
//! graded values.
std::uint64_t basis_rows(const CodecSpec& spec, const MatrixShape& shape);
//! Of what the rows of a subspace's coefficients have been divided by: 2 bytes,
//! then 8 bits a row (`rows_differ`) or 4, rounded up to whole 8 bytes; 0 for
//! formats without scales.
std::size_t row_level_bytes(const CodecSpec& spec, std::uint64_t rows);
//! graded, graded5 or graded6
bool is_graded(ValueFormat format);
//! The blocks of vectors with these bits (8 to 2, or 0: none is sent), one
//! after the other; at most as long as as many blocks of the graded format.
std::size_t graded_bytes(std::span<const std::uint8_t> bits,
                         std::uint64_t rows);
//! Of a vector with 8, 6, 5, 4, 3 or 2 bits.
ValueFormat graded_format(std::uint8_t bits);
//! Why no message of a graded format can have vectors of these bits, as half a
//! sentence; "" if one can.
std::string find_bits_problem(ValueFormat graded,
                              std::span<const std::uint8_t> bits,
                              std::uint64_t rows);
//! Of its scales alone; 0 for formats without.
std::size_t scale_bytes(ValueFormat format, std::uint64_t num_values);
//! 32, 16, 8, 6, 5, 4, 3 or 2; of graded ones on average
int value_bits(ValueFormat format);
bool has_scales(ValueFormat format);

/*!
 * Where `num_kept` ascending indices below `num_elements` are packed: nothing
 * (none or all), a bitmap, or Elias-Fano; of the last two the smaller, a
 * function of the two numbers alone.
 */
struct IndexLayout {
    enum class Kind { nothing, bitmap, elias_fano };
    Kind kind = Kind::nothing;
    int low_bits = 0;            //!< Elias-Fano: of each index, packed
    std::size_t low_bytes = 0;   //!< rounded up to whole 8 bytes
    std::size_t high_bytes = 0;  //!< unary part, or bitmap; also rounded up

    std::size_t bytes() const { return low_bytes + high_bytes; }
    friend bool operator==(const IndexLayout&, const IndexLayout&) = default;
};

//! Elias-Fano: low_bits = floor(log2(n / k)); the unary part has k ones, and a
//! zero for each of the n >> low_bits steps.
IndexLayout index_layout(std::uint64_t num_elements, std::uint64_t num_kept);

//! "top-k of 3277, int4", for messages to people.
std::string to_text(const CodecSpec& spec);
//! "int4"
std::string to_text(ValueFormat format);

}  // namespace fusionllm
