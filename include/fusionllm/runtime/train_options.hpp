#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "fusionllm/exec/optimizer_options.hpp"

namespace fusionllm {

//! Learning rate as a function of the step.
struct LearningRate {
    double peak = 1e-3;
    std::string schedule = "constant";  //!< "constant" or "cosine"
    std::int64_t warmup_steps = 0;      //!< linear from 0
    std::int64_t decay_steps = 0;       //!< cosine: 0 = all steps of the run
    double final_fraction = 0.1;        //!< cosine: of the peak, at the end

    friend bool operator==(const LearningRate&, const LearningRate&) = default;
};

//! The learning rate of step `step` (counted from 0) of `steps`.
double learning_rate_at(const LearningRate& rate,
                        std::int64_t step,
                        std::int64_t steps);

//! What the trainer's step loop needs to know, besides graph, plan and data.
struct TrainOptions {
    std::uint64_t seed = 1;
    std::int64_t steps = 100;
    std::int64_t batch = 32;  //!< samples a step, over all micro-batches
    OptimizerOptions optimizer;
    LearningRate learning_rate;
    double clip_norm = 0;               //!< 0 = off
    std::int64_t evaluate_every = 0;    //!< 0 = never
    std::int64_t checkpoint_every = 0;  //!< 0 = only the final one
    std::int64_t checkpoint_keep = 2;
    bool check_ops = false;  //!< name the op that made a non-finite number
    std::filesystem::path output;  //!< folder; empty = write nothing

    friend bool operator==(const TrainOptions&, const TrainOptions&) = default;
};

}  // namespace fusionllm
