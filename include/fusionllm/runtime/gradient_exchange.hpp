#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fusionllm/exec/parameter_store.hpp"
#include "fusionllm/runtime/pipeline.hpp"
#include "fusionllm/runtime/rank_role.hpp"

namespace fusionllm {

/*!
 * The step's gradient of every parameter that this stage holds.
 *
 * A parameter that several stages hold (tied embeddings) is the sum of all its
 * uses in op order, so every holder gets the accumulators of the others and
 * makes the same sum. Bytes a step and holder: (holders - 1) x uses x size.
 */
class GradientExchange {
public:
    GradientExchange(const OpGraph& graph,
                     const Plan& plan,
                     const RankRole& role,
                     const ParameterStore& parameters);

    //! By `parameters.indices()`; undefined where no gradient came. Adds to
    //! `sent`, by destination rank, the bytes of the messages.
    std::vector<at::Tensor> sum(Transport& transport,
                                IdleWait& wait,
                                ComputeThread& compute,
                                Pipeline& pipeline,
                                std::uint64_t step,
                                std::map<int, std::uint64_t>& sent);

    //! Whether this stage is the lowest that holds the parameter: it reports
    //! the norm and writes the checkpoint.
    bool is_owner(std::size_t parameter) const;

private:
    struct Use {
        std::size_t parameter;
        std::size_t stage;
        int local = -1;  // number in the store, if it is ours
        std::uint32_t slot = 0;
    };
    struct Incoming;

    std::vector<Use> uses_of(std::size_t parameter) const;
    std::set<int> other_holders(std::size_t parameter) const;
    std::vector<Incoming> receive_others(Transport& transport,
                                         std::uint64_t step) const;
    void send_own(ComputeThread& compute,
                  Pipeline& pipeline,
                  std::uint64_t step,
                  std::map<int, std::uint64_t>& sent) const;
    at::Tensor add_up(std::size_t parameter,
                      std::vector<Incoming>& incoming,
                      std::uint64_t step) const;

    const OpGraph& graph_;
    RankRole role_;
    const ParameterStore& parameters_;
    std::vector<Use> uses_;  // of every parameter of the store, in op order
};

//! The stage that holds the op.
std::size_t stage_of(const Plan& plan, OpId op);

}  // namespace fusionllm
