#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fusionllm/exec/optimizer_options.hpp"
#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm::bench {

//! The inputs of a micro-batch, by `graph.signature().inputs`.
using Inputs = std::vector<HostTensor>;

/*!
 * Training as plain LibTorch does it, to see what everything around it costs.
 *
 * Calls the ops of a graph one after the other, autograd once a micro-batch,
 * then clips and updates by AdamW. No stages, no messages, no hooks, one
 * thread. The first parameters are those that the trainer draws.
 */
class BareLoop {
public:
    BareLoop(const OpGraph& graph,
             std::uint64_t seed,
             OptimizerOptions optimizer,
             double clip_norm);
    ~BareLoop();

    //! One update; the mean loss of the micro-batches.
    double step(const std::vector<Inputs>& micro_batches, double learning_rate);

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace fusionllm::bench
