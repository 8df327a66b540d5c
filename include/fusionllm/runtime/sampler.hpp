#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fusionllm/plan/fence.hpp"
#include "fusionllm/runtime/named_tensor.hpp"

namespace fusionllm {

//! How a token is drawn from the model's probabilities.
struct SampleOptions {
    double temperature = 1;  //!< 0: the likeliest token
    std::uint64_t seed = 0;
    std::uint64_t number = 0;  //!< of the token: each has its own draw
};

/*!
 * Runs a language model in evaluation form, one sample (in each place of the
 * graph's micro-batch), on this process.
 *
 * The graph's shapes are fixed, so each token costs a whole context; what is
 * behind the last token cannot reach it (causal attention).
 */
class Sampler {
public:
    /*!
     * \param graph its inputs are (N, T), its output is (N, T, V); N = 1 costs
     *        least. Throws `InputError` if it is of another form, e.g. of
     *        images
     * \param fences that the model was trained with; empty: without codecs
     * \param load a tensor by its checkpoint name; nothing if there is none
     */
    Sampler(const OpGraph& graph,
            const std::vector<Fence>& fences,
            const LoadTensor& load,
            int num_threads);
    ~Sampler();

    //! Tokens are below it.
    std::int64_t vocabulary() const;
    //! The token that follows; at most the last T tokens are looked at.
    std::int64_t next(const std::vector<std::int64_t>& tokens,
                      const SampleOptions& options);

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace fusionllm
