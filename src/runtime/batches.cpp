#include "fusionllm/runtime/batches.hpp"

#include <algorithm>

#include "fusionllm/util/error.hpp"

namespace fusionllm {

std::vector<HostTensor> make_batch(const OpGraph& graph,
                                   const Dataset& dataset,
                                   const std::vector<SampleInEpoch>& samples,
                                   const std::vector<ValueId>& fields) {
    std::vector<HostTensor> batch;
    for (const ValueId field : fields) {
        batch.push_back({graph.value(field).type, {}});
    }
    const auto& inputs = graph.signature().inputs;
    for (const SampleInEpoch& sample : samples) {
        const std::vector<HostTensor> tensors =
            dataset.get_in_epoch(sample.index, sample.epoch);
        FUSIONLLM_VALIDATE(
            tensors.size() == inputs.size(),
            "the data set gives {} tensors a sample, but model '{}' has {} "
            "inputs (labels included)",
            tensors.size(),
            graph.name(),
            inputs.size());
        for (std::size_t i = 0; i < fields.size(); ++i) {
            const auto position =
                std::ranges::find(inputs, fields[i]) - inputs.begin();
            const auto& bytes = tensors[position].bytes;
            batch[i].bytes.insert(
                batch[i].bytes.end(), bytes.begin(), bytes.end());
        }
    }
    for (std::size_t i = 0; i < fields.size(); ++i) {
        FUSIONLLM_VALIDATE(
            batch[i].bytes.size() == num_bytes(batch[i].type),
            "{} samples of the data set make {} bytes for input '{}', which "
            "is {}",
            samples.size(),
            batch[i].bytes.size(),
            graph.value(fields[i]).name,
            to_text(batch[i].type));
    }
    return batch;
}

std::vector<HostTensor> make_batch(const OpGraph& graph,
                                   const Dataset& dataset,
                                   const std::vector<std::size_t>& samples,
                                   const std::vector<ValueId>& fields) {
    std::vector<SampleInEpoch> first;
    for (const std::size_t sample : samples) {
        first.push_back({sample, 0});
    }
    return make_batch(graph, dataset, first, fields);
}

}  // namespace fusionllm
