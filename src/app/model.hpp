#pragma once

#include "fusionllm/graph/op_graph.hpp"

#include "app/run_input.hpp"

namespace fusionllm {

//! The model of the input, whichever kind, for its micro-batches, whose number
//! must have been chosen; rewritten if compression's rule is "cut". Throws
//! `InputError` if it cannot be cut there.
OpGraph make_model(const RunInput& input);

}  // namespace fusionllm
