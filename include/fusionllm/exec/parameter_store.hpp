#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fusionllm/exec/first_value.hpp"
#include "fusionllm/graph/slice.hpp"

namespace fusionllm {

//! A parameter that this rank holds, with what training adds to it.
struct HeldParameter {
    at::Tensor value;                         //!< f32, on the device
    std::map<std::string, at::Tensor> state;  //!< of the optimizer, by name
};

/*!
 * The parameters of one stage, and one gradient accumulator per *use*.
 *
 * A use is an op that reads a parameter; its accumulator sums over the
 * micro-batches in ascending order. The gradient of a parameter is the sum of
 * its uses in op order, wherever they are: so it has the same bits on any
 * number of ranks (tied embeddings).
 */
class ParameterStore {
public:
    //! Asks `first` for each parameter once, one after another.
    ParameterStore(const OpGraph& graph,
                   const std::vector<ParameterUse>& uses,
                   const FirstValues& first,
                   at::Device device);

    const std::vector<ParameterUse>& uses() const { return uses_; }
    //! Positions in the signature, ascending.
    const std::vector<std::size_t>& indices() const { return indices_; }
    bool has(std::size_t parameter) const;
    HeldParameter& get(std::size_t parameter) { return held_.at(parameter); }
    const HeldParameter& get(std::size_t parameter) const {
        return held_.at(parameter);
    }

    //! The leaf that stands for the parameter in the op of use number `use`.
    const at::Tensor& leaf(std::size_t use) const { return leaves_.at(use); }
    //! Add a micro-batch's gradient of a use; an undefined one adds nothing.
    //! A gradient that is moved here is not copied.
    void accumulate(std::size_t use, at::Tensor gradient);
    //! The sum so far; undefined if there was none.
    const at::Tensor& gradient(std::size_t use) const {
        return gradients_.at(use);
    }
    //! Forget all gradients, before a step.
    void clear_gradients();

private:
    std::vector<ParameterUse> uses_;
    std::vector<std::size_t> indices_;
    std::map<std::size_t, HeldParameter> held_;
    std::vector<at::Tensor> leaves_;     // by use
    std::vector<at::Tensor> gradients_;  // by use
};

}  // namespace fusionllm
