#pragma once

#include <string>
#include <string_view>

#include "fusionllm/wire/codec_spec.hpp"

namespace fusionllm {

//! Numbers of one direction.
struct ValueChoice {
    ValueFormat format = ValueFormat::f32;
    Rounding rounding = Rounding::nearest;

    friend bool operator==(const ValueChoice&, const ValueChoice&) = default;
};

/*!
 * How a value is compressed in both directions, whatever its shape: what a
 * plan has for a fence. The text forms:
 *
 *     fp32  bf16  fp16  int8  int6 ... int2       all elements
 *     int4/int3s          forward/backward; s: stochastic rounding
 *     top_k(100,int4)     1 of 100 elements, a mask that both ways share
 *     top_k_row(100,int4/int3s)   the same of every row
 *     subspace(16,int4)   1 of 16 principal components
 *     subspace(16,graded)   the same bytes, more bits for larger components;
 *                         backward int4s unless it is said: graded/int3s
 *     subspace(16,graded5)  with the bytes of int5, and backward int3s
 *                         (graded6: int6 and int2s)
 *     paper(3.2)          top-k with i64 indices and f32 values, both ways
 *     ...+feedback        with error feedback
 */
struct CodecChoice {
    //! Of the forward direction: dense or quantised (by `forward`), top_k,
    //! subspace or paper_top_k.
    CodecId id = CodecId::dense;
    ValueChoice forward;
    ValueChoice backward;
    Selection selection = Selection::tensor;
    double element_ratio = 1;  //!< n/k; 1 where all elements go
    bool has_feedback = false;

    friend bool operator==(const CodecChoice&, const CodecChoice&) = default;
};

//! The text form; `parse_codec_choice(to_text(c)) == c`.
std::string to_text(const CodecChoice& choice);

/*!
 * A ratio that the text leaves out ("top_k", "subspace", "paper") is
 * `element_ratio`; numbers it leaves out are int4 (f32 for "paper"). Throws
 * `InputError` for a text that names no codec.
 */
CodecChoice parse_codec_choice(std::string_view text, double element_ratio);

/*!
 * For a tensor of this shape: kept = round(n / element_ratio), at least 1 (of
 * each row for rows; of the columns for a subspace), at most all. Without
 * elements: dense f32.
 */
CodecPair resolve(const CodecChoice& choice, const MatrixShape& shape);

//! Bytes that a new basis adds to its message; 0 for codecs without.
std::size_t basis_bytes(const CodecChoice& choice, const MatrixShape& shape);

//! Dense f32 bytes over encoded ones, both directions, without headers and
//! without the basis. 1 for a tensor without elements.
double byte_ratio(const CodecChoice& choice, const MatrixShape& shape);

}  // namespace fusionllm
