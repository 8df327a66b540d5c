#pragma once

#include <cstddef>
#include <vector>

#include "fusionllm/graph/slice.hpp"
#include "fusionllm/wire/codec_choice.hpp"

namespace fusionllm {

/*!
 * What happens to a value where it crosses a cut: it is encoded and decoded,
 * and so is its gradient on the way back. That belongs to the cut, not to ranks
 * or links: it happens also where both sides share a stage, so that numbers
 * never depend on who runs what.
 */
struct Fence {
    std::size_t cut = 0;  //!< before the op of this number
    ValueId value{0};
    CodecChoice codec;

    friend bool operator==(const Fence&, const Fence&) = default;
};

//! Whether a codec is for the value of an op: f32, not empty, with a gradient.
//! All others go as they are: token ids, masks, and attention scores with -inf
//! in them, which would be all that is left of their tile.
bool is_compressible(const OpGraph& graph, ValueId value);

//! Those across a cut, ascending by id.
std::vector<ValueId> compressible_values(const OpGraph& graph, std::size_t cut);

//! The value's shape as codecs see it.
MatrixShape shape_of(const OpGraph& graph, ValueId value);

//! Those of one cut, ascending by value; `fences` as in a valid plan.
std::vector<Fence> fences_at(const std::vector<Fence>& fences, std::size_t cut);

//! Throws `InputError` unless fences ascend by (cut, value) without repetition
//! and each is for a compressible value of its cut.
void validate(const std::vector<Fence>& fences, const OpGraph& graph);

}  // namespace fusionllm
