#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/plan/plan.hpp"
#include "fusionllm/util/timing.hpp"

namespace fusionllm::bench {

//! What is trained, and for how long.
struct BenchOptions {
    Gpt2Options model{8, 256, 8, 128, 256, 0, true};
    std::int64_t micro_batch = 2;
    int micro_batches = 16;
    std::int64_t warmup = 2;
    std::int64_t steps = 10;
    std::string schedule = "1f1b";
    std::string partition = "equal_flops";
    bool has_bare_loop = false;
    //! Forward, backward and update seconds of each stage, waited for in place
    //! of computing; empty: compute.
    std::vector<double> waits;
    std::string csv;
};

//! What is measured, on the root unless said otherwise; warm-up left out.
struct Figures {
    std::vector<double> step_s;
    std::vector<double> bare_s;
    std::vector<double> step_cpu_s;  // of all threads of the process
    std::vector<double> bare_cpu_s;
    double largest_loss_difference = 0;  // relative, to the bare loop
    std::vector<Section> sections;       // of this rank
};

//! Lines "rank,section,seconds a step" of this rank.
std::string sections_text(const Figures& figures,
                          const BenchOptions& options,
                          int rank);

//! Print all figures, and append them to the CSV file if there is one.
void report(const BenchOptions& options,
            const OpGraph& graph,
            const Plan& plan,
            const Figures& figures,
            const std::vector<std::string>& sections_of_rank);

}  // namespace fusionllm::bench
