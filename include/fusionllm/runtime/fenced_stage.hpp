#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fusionllm/exec/stage.hpp"
#include "fusionllm/runtime/fence_codecs.hpp"

namespace fusionllm {

/*!
 * A rank's stage with its fences.
 *
 * The fences inside it divide it into parts, each a `Stage` of its own, and
 * what goes from one part to the next goes through the codecs as it would
 * between ranks. So a fence does the same to the numbers wherever the stages
 * end. Without fences inside there is one part.
 */
class FencedStage {
public:
    //! \param fences of the plan; those elsewhere are left out
    FencedStage(const OpGraph& graph,
                OpRange ops,
                ParameterStore& parameters,
                BufferStore& buffers,
                const StageOptions& options,
                const std::vector<Fence>& fences,
                const FenceOptions& fence_options);

    const StageSlice& slice() const { return slice_; }
    at::Device device() const { return parts_.front().device(); }
    FenceCodecs& fences() { return *fences_; }
    //! Between steps: other fences from now on. Codecs that stay go on from
    //! what they kept.
    void set_fences(const std::vector<Fence>& fences);

    //! As those of `Stage`.
    std::vector<at::Tensor> forward(MicrobatchKey key,
                                    const std::vector<at::Tensor>& inputs,
                                    const std::vector<at::Tensor>& user_inputs);
    std::vector<at::Tensor> backward(MicrobatchKey key,
                                     const std::vector<at::Tensor>& gradients);
    std::vector<at::Tensor> evaluate(
        MicrobatchKey key,
        CodecUse codecs,
        const std::vector<at::Tensor>& inputs,
        const std::vector<at::Tensor>& user_inputs);

    //! Called by `evaluate`, on its thread, with the graph's output where that
    //! is made; empty: not called.
    void on_output(std::function<void(const at::Tensor&)> hook) {
        on_output_ = std::move(hook);
    }

    bool has_loss() const;
    double loss() const;
    const at::Tensor& output() const;
    //! What was first found non-finite with `check_ops`.
    std::optional<std::string> first_bad_op() const;
    void clear_bad_op();

private:
    std::vector<at::Tensor> pick_inputs(
        const Stage& part, const std::vector<at::Tensor>& user_inputs) const;
    //! Through the fences at the end of part `before`.
    std::vector<at::Tensor> cross(std::size_t before,
                                  Direction direction,
                                  MicrobatchKey key,
                                  CodecKey::Use use,
                                  const std::vector<at::Tensor>& tensors);

    void make_parts();

    const OpGraph& graph_;
    StageSlice slice_;
    ParameterStore& parameters_;
    BufferStore& buffers_;
    StageOptions options_;
    FenceOptions fence_options_;
    std::unique_ptr<FenceCodecs> fences_;
    std::deque<Stage> parts_;
    std::function<void(const at::Tensor&)> on_output_;
};

}  // namespace fusionllm
