#pragma once

#include <memory>

#include "fusionllm/codec/codec.hpp"

namespace fusionllm {

/*!
 * The largest elements by magnitude forward; backward the gradient at the same
 * elements, their mask being known at both ends.
 *
 *     forward    packed indices (`encode_indices`), values in their order
 *     backward   values in the order of the indices
 *
 * Elements that are not sent are zeros at the other end. A mask (4 bytes for
 * each kept element) lives from its forward to its backward; its memory is
 * used again. Encoding forward finds a mask, decoding forward reads one, and
 * either is forgotten after the micro-batch's backward. Evaluation keeps none.
 *
 * `choice.id` is `top_k`. Throws `InputError` for a tensor of 2^32 elements or
 * more.
 */
std::unique_ptr<Codec> make_top_k_codec(const CodecChoice& choice,
                                        const MatrixShape& shape,
                                        MemorySpace space);

/*!
 * Top-k as we read the paper, for comparison: the largest elements both ways,
 * each with a mask of its own; i64 indices, ascending, then f32 values.
 *
 * `choice.id` is `paper_top_k`. Throws as above.
 */
std::unique_ptr<Codec> make_paper_codec(const CodecChoice& choice,
                                        const MatrixShape& shape,
                                        MemorySpace space);

}  // namespace fusionllm
