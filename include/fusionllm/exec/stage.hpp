#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fusionllm/exec/buffer_store.hpp"
#include "fusionllm/exec/op_runner.hpp"
#include "fusionllm/exec/parameter_store.hpp"
#include "fusionllm/graph/recompute.hpp"
#include "fusionllm/graph/slice.hpp"

namespace fusionllm {

//! What a stage needs besides its ops.
struct StageOptions {
    at::Device device{at::kCPU};
    std::uint64_t seed = 0;
    int micro_batches = 1;  //!< of a step: the loss of each counts 1/this
    FillMask fill_mask;
    bool check_ops = false;  //!< look for non-finite numbers after each op
    Recompute recompute = Recompute::off;
};

//! Which micro-batch runs, and how.
struct MicrobatchKey {
    std::uint64_t step = 0;
    std::uint32_t micro_batch = 0;
};

/*!
 * One rank's part of the network: forward, and remote automatic
 * differentiation.
 *
 * Forward makes every boundary input a leaf that requires a gradient, runs the
 * ops and gives the boundary outputs. Backward takes the gradients of those
 * outputs, gives the gradients of the boundary inputs and adds those of the
 * parameters to the store. A value that only passes through is the same leaf
 * on both sides, so its gradient starts from the one that comes back and adds
 * the stage's own users in descending op order: the order of summation of a
 * single process.
 *
 * With recompute, forward keeps its inputs alone, and backward runs it again
 * before it differentiates. What is random depends on the key, so both runs
 * have the same bits.
 *
 * Ops that change a buffer (running statistics) change its working copy, in
 * the order of the micro-batches; whoever owns the store commits it at the
 * update. Within a stage other ops see a changed buffer as it is then, as in a
 * single process. Running again changes nothing.
 *
 * All calls come from one thread.
 */
class Stage {
public:
    //! \param parameters holds at least the slice's uses
    //! \param buffers holds at least the slice's
    //! Throws `InputError` if an op cannot run on this LibTorch.
    Stage(const OpGraph& graph,
          StageSlice slice,
          ParameterStore& parameters,
          BufferStore& buffers,
          StageOptions options);
    ~Stage();

    const StageSlice& slice() const { return slice_; }
    at::Device device() const { return options_.device; }

    /*!
     * Run the ops for one micro-batch and keep what backward needs.
     *
     * \param inputs by `slice().inputs`
     * \param user_inputs by `slice().user_inputs`
     * \return by `slice().outputs`
     */
    std::vector<at::Tensor> forward(MicrobatchKey key,
                                    const std::vector<at::Tensor>& inputs,
                                    const std::vector<at::Tensor>& user_inputs);

    /*!
     * Differentiate one micro-batch and forget it.
     *
     * \param gradients by `slice().outputs`; undefined where there is none
     * \return by `slice().inputs`; undefined where there is none
     */
    std::vector<at::Tensor> backward(std::uint32_t micro_batch,
                                     const std::vector<at::Tensor>& gradients);

    //! Forward in evaluation form, nothing kept.
    std::vector<at::Tensor> evaluate(
        const std::vector<at::Tensor>& inputs,
        const std::vector<at::Tensor>& user_inputs);

    //! Whether the loss is made here.
    bool has_loss() const;
    //! Loss of the last micro-batch that ran, waiting for the device.
    double loss() const;
    //! The graph's output (logits) of the last evaluation; undefined elsewhere.
    const at::Tensor& output() const { return output_; }
    //! What was first found non-finite with `check_ops`: the op's name.
    const std::optional<std::string>& first_bad_op() const { return bad_op_; }
    void clear_bad_op() { bad_op_.reset(); }

private:
    struct InFlight {
        MicrobatchKey key;
        std::vector<at::Tensor> inputs;       // leaves
        std::vector<at::Tensor> user_inputs;  // with recompute
        std::vector<at::Tensor> outputs;      // by slice().outputs
        at::Tensor loss;
        // With recompute: changing buffers, as they were before each op that
        // uses them.
        std::vector<at::Tensor> buffers;
        std::size_t next_buffer = 0;
    };

    //! A buffer that an op reads or changes.
    struct OpBuffer {
        std::size_t buffer = 0;
        ValueId value{0};
        bool is_changed_here = false;
        bool is_changed = false;  // by any op of the graph
    };

    //! How ops see buffers that change.
    enum class BufferView { working, recorded, committed };

    void place_inputs(const std::vector<at::Tensor>& inputs,
                      const std::vector<at::Tensor>& user_inputs);
    void place_parameters(OpId op, std::size_t& next_use);
    void find_buffers();
    void place_buffers(std::size_t index, BufferView view, InFlight& flight);
    void separate_buffers(std::size_t index, std::vector<at::Tensor>& outputs);
    void run_op(std::size_t index, const OpContext& context);
    //! From the flight's inputs to its outputs and loss.
    void run_ops(const OpContext& context,
                 BufferView view,
                 const std::vector<at::Tensor>& user_inputs,
                 InFlight& flight);
    void run_forward(InFlight& flight,
                     BufferView view,
                     const std::vector<at::Tensor>& user_inputs);
    void check(const OpRunner& runner, const std::vector<at::Tensor>& outputs);

    const OpGraph& graph_;
    StageSlice slice_;
    ParameterStore& parameters_;
    BufferStore& buffers_;
    StageOptions options_;
    std::size_t first_use_ = 0;  // of the slice, among those of the store
    std::vector<OpRunner> runners_;
    std::vector<std::vector<OpBuffer>> op_buffers_;  // by op
    // Values read by op i that no later op of the stage reads.
    std::vector<std::vector<ValueId>> dies_after_;
    std::vector<at::Tensor> values_;  // by value id; while ops run
    std::map<std::uint32_t, InFlight> in_flight_;
    at::Tensor last_loss_;
    at::Tensor output_;
    std::optional<std::string> bad_op_;
};

}  // namespace fusionllm
