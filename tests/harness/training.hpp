#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/plan/plan.hpp"
#include "fusionllm/runtime/trainer.hpp"

namespace fusionllm::test {

//! A training run of a small GPT-2 on made-up sequences, over loopback.
struct TrainingCase {
    Gpt2Options model;
    //! In place of the GPT-2, if given: the graph for micro-batches of a size.
    std::function<OpGraph(std::int64_t)> make_graph;
    bool is_shuffled = true;
    int ranks = 1;
    std::string schedule = "1f1b";
    std::string partition = "equal_ops";
    int micro_batches = 4;
    Recompute recompute = Recompute::off;
    TrainOptions options;
    std::string device = "cpu";
    //! Put between a rank and the loopback transport, if given.
    std::function<std::unique_ptr<Transport>(Transport&)> decorate;
    std::function<HostTensor(const std::string&)> load;  //!< a trainer's hook
    InitialTensor initial;  //!< the first values of some tensors, if given
    std::function<DatasetSplit()> load_data;  //!< in place of the sequences
    //! What is compressed, if given; and how often errors are measured.
    std::function<std::vector<Fence>(const OpGraph&)> fences;
    std::int64_t measure_every = 0;
    EvaluationCodecs evaluation = EvaluationCodecs::on;
    //! What the steps are timed for, if given.
    std::function<Emulation(const OpGraph&, const Plan&)> emulate;
    std::optional<StageWaits> waits;  //!< in place of computing
};

//! Everything that the laws compare, bit by bit.
struct TrainingResult {
    std::vector<StepMetrics> metrics;
    std::map<std::string, HostTensor> tensors;  //!< parameters and state
    RankTraffic traffic;                        //!< as rank 0 counted it
};

//! A case with all that makes a law hard: dropout, tied embeddings, clipping.
TrainingCase make_hard_case();

//! A narrow ResNet on made-up images, cropped and flipped, over two epochs.
TrainingCase make_image_case();

//! Kokkos for all threads of this process; call it before `train`.
void start_kokkos();

TrainingResult train(const TrainingCase& training);

}  // namespace fusionllm::test
