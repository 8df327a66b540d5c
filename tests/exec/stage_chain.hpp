#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "fusionllm/exec/stage.hpp"

namespace fusionllm::test {

//! What one step gives, for comparisons bit by bit.
struct ChainResult {
    double loss = 0;                    //!< sum over the micro-batches
    std::vector<HostTensor> gradients;  //!< by parameter; empty if none
};

/*!
 * The stages of a graph, connected by hand: one thread, no transport, but
 * every boundary value and gradient goes through the bytes of a message.
 */
class StageChain {
public:
    //! Stages end before each op number of `cuts` (ascending).
    StageChain(const OpGraph& graph,
               const std::vector<std::size_t>& cuts,
               int micro_batches);
    StageChain(const OpGraph& graph,
               const std::vector<std::size_t>& cuts,
               int micro_batches,
               Recompute recompute);

    //! \param inputs of each micro-batch, by the graph's inputs
    ChainResult train(std::uint64_t step,
                      const std::vector<std::vector<HostTensor>>& inputs);
    //! The sum of the losses in evaluation form.
    double evaluate(const std::vector<std::vector<HostTensor>>& inputs);

    std::size_t size() const { return stages_.size(); }
    ParameterStore& parameters(std::size_t stage) { return stores_[stage]; }
    //! A buffer of the graph, from the stage that holds it first.
    at::Tensor buffer(const std::string& name) const;
    //! Each parameter less `rate` times its gradient.
    void descend(const ChainResult& result, double rate);
    void commit_buffers();
    void drop_buffers();
    Stage& stage(std::size_t stage) { return stages_[stage]; }

private:
    std::vector<at::Tensor> user_inputs(
        const StageSlice& slice, const std::vector<HostTensor>& inputs) const;
    void forward(MicrobatchKey key, const std::vector<HostTensor>& inputs);
    void backward(MicrobatchKey key);
    std::vector<HostTensor> sum_uses() const;

    const OpGraph& graph_;
    std::deque<ParameterStore> stores_;
    std::deque<BufferStore> buffers_;
    std::deque<Stage> stages_;
    int micro_batches_;
    double loss_ = 0;
};

//! Dropout by a plain loop over Philox blocks, without Kokkos.
void fill_mask_by_loop(const at::Tensor& mask, std::uint64_t key, double p);

inline constexpr std::uint64_t chain_seed = 7;

}  // namespace fusionllm::test
