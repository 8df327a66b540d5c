#pragma once

#include <memory>

#include "fusionllm/exec/optimizer_options.hpp"
#include "fusionllm/exec/parameter_store.hpp"

namespace fusionllm {

//! What one update of one parameter takes.
struct UpdateInput {
    at::Tensor gradient;  //!< of the whole step, after clipping
    double learning_rate = 0;
    bool has_weight_decay = true;
};

//! Changes a parameter by its gradient; keeps its state in the parameter.
class Optimizer {
public:
    virtual ~Optimizer() = default;
    //! Add the state that the first update expects, all zero.
    virtual void make_state(HeldParameter& parameter) const = 0;
    virtual void update(HeldParameter& parameter,
                        const UpdateInput& input) const = 0;
};

//! Throws `InputError` for an unknown kind.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options);

}  // namespace fusionllm
