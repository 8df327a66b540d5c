#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fusionllm/data/dataset.hpp"
#include "fusionllm/graph/op_graph.hpp"

namespace fusionllm {

//! A sample as it is in one pass over the data (`Dataset::get_in_epoch`).
struct SampleInEpoch {
    std::size_t index = 0;
    std::uint64_t epoch = 0;
};

/*!
 * Samples of `dataset`, stacked along a new first axis.
 *
 * \param fields which tensors of a sample, by `graph.signature().inputs`
 * Throws `InputError` if the data set does not fit the graph's inputs.
 */
std::vector<HostTensor> make_batch(const OpGraph& graph,
                                   const Dataset& dataset,
                                   const std::vector<SampleInEpoch>& samples,
                                   const std::vector<ValueId>& fields);

//! The same of epoch 0.
std::vector<HostTensor> make_batch(const OpGraph& graph,
                                   const Dataset& dataset,
                                   const std::vector<std::size_t>& samples,
                                   const std::vector<ValueId>& fields);

}  // namespace fusionllm
