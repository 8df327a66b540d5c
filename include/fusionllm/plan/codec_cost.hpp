#pragma once

#include "fusionllm/wire/codec_choice.hpp"

namespace fusionllm {

//! What encoding or decoding one message takes, whatever the device.
struct CodecWork {
    double copied_bytes = 0;  //!< as much as copying so many dense bytes once
    double flops = 0;         //!< of matrix products

    friend bool operator==(const CodecWork&, const CodecWork&) = default;
};

/*!
 * Estimated, until codecs are calibrated; dense copies of the tensor (one read
 * and one write of all its bytes) for each direction:
 *
 *                          encode              decode
 *     fp32, bf16, fp16     1                   1
 *     8 to 2 bits          3                   2
 *     top_k, paper         3                   1
 *     masked               0.5                 1
 *     subspace             1, and 2 n kept flops each
 *     error feedback       2 more
 *
 * The quantisers' and the selection's figures are what the codecs' benchmark
 * asks of them (a third of a copy's speed). A subspace's new basis, once in
 * many steps, is left out.
 */
CodecWork encode_work(const CodecChoice& choice,
                      const MatrixShape& shape,
                      Direction direction);
CodecWork decode_work(const CodecChoice& choice,
                      const MatrixShape& shape,
                      Direction direction);

}  // namespace fusionllm
