#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm {

/*!
 * Fills a dense f32 tensor with a dropout mask: element i is 0 with
 * probability p, else 1/(1-p), a function of (key, i) alone.
 */
using FillMask =
    std::function<void(const at::Tensor& mask, std::uint64_t key, double p)>;

//! What random ops and training flags depend on, besides the op.
struct OpContext {
    at::Device device{at::kCPU};
    std::uint64_t seed = 0;
    std::uint64_t step = 0;
    std::uint32_t micro_batch = 0;
    bool is_training = true;
    const FillMask* fill_mask = nullptr;
};

/*!
 * One op, ready to run: schema looked up, arguments converted once.
 *
 * Runs by boxed dispatch, so any aten operator works, with autograd when an
 * argument requires a gradient; without training, in the op's evaluation form.
 * LibTorch's generator is seeded before each random op from (run seed, step,
 * micro-batch, op name). Constructing throws `InputError` if this LibTorch does
 * not have the operator or its schema does not take the arguments.
 */
class OpRunner {
public:
    OpRunner(const OpGraph& graph, OpId op, at::Device device);

    /*!
     * \param tensor_of the tensor of each value that the op reads
     * \return one tensor per output of the op, normalised. Throws `InputError`
     *         for an index (a label, a token) that is out of range, `Error` for
     *         whatever else LibTorch cannot do, with op, micro-batch and step
     */
    std::vector<at::Tensor> run(
        const std::function<const at::Tensor&(ValueId)>& tensor_of,
        const OpContext& context) const;

    const Op& op() const { return op_; }

private:
    std::vector<c10::IValue> convert(const Op& op, at::Device device);
    void call(std::vector<c10::IValue>& stack, const OpContext& context) const;
    std::vector<at::Tensor> run_dropout_mask(const at::Tensor& like,
                                             const OpContext& context) const;

    Op op_;
    std::vector<std::string> inputs_;  // of the model, that the op reads
    // Constants; values are filled in.
    std::vector<c10::IValue> arguments_;
    std::vector<c10::IValue> evaluation_arguments_;  // training flags off
    std::vector<std::size_t> value_arguments_;  // positions that hold values
    std::unique_ptr<c10::OperatorHandle> handle_;
    bool is_random_ = false;
};

}  // namespace fusionllm
