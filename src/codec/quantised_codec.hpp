#pragma once

#include <memory>

#include "fusionllm/codec/codec.hpp"

namespace fusionllm {

/*!
 * All elements, each for itself: dense (f32, bf16, f16) or integers with a
 * scale a tile; either way its own. Keeps nothing.
 *
 * \param specs each dense or quantised
 */
std::unique_ptr<Codec> make_quantised_codec(const CodecPair& specs,
                                            const MatrixShape& shape,
                                            MemorySpace space);

}  // namespace fusionllm
