#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fusionllm/data/dataset.hpp"
#include "fusionllm/graph/op_graph.hpp"

#include "worker.hpp"

namespace fusionllm {

//! Whether the model puts each sample in a class: its output is f32
//! (N, classes), and its only label i64 (N).
bool is_classifier(const OpGraph& graph);

//! What is validated: `micro_batches` of `available`, evenly spread.
struct ValidationSetup {
    const OpGraph& graph;
    const Dataset* dataset = nullptr;  //!< null where the stage reads none
    std::int64_t step = 0;
    std::int64_t micro_batches = 0;
    std::int64_t micro_batch_size = 0;  //!< samples
    std::int64_t available = 0;
    CodecUse codecs = CodecUse::on;
};

struct ValidationResult {
    double loss = 0;  //!< mean, nats
    //! Of a classifier: the share of samples whose class the model finds.
    std::optional<double> accuracy;
};

/*!
 * Collective: run the validation samples. `worker` may be null. The root
 * (rank 0) has the result; others get zeros.
 *
 * Who makes the output and who reads the labels may be two ranks: each sends
 * the root one number a sample.
 */
ValidationResult validate(Transport& transport,
                          IdleWait& wait,
                          Worker* worker,
                          const ValidationSetup& setup);

}  // namespace fusionllm
