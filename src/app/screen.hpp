#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusionllm/runtime/trainer.hpp"

#include "app/job.hpp"

namespace fusionllm {

//! One rank as the first table shows it.
struct RankLine {
    int rank = 0;
    std::string host;
    int pid = 0;
    std::string device;
    std::string group;
    int stage = -1;
};

//! Settings, library versions, ranks and stages: printed before step 1.
std::string describe_run(const RunInput& input,
                         const Job& job,
                         const std::vector<RankLine>& ranks);

//! What a run counts a second: "tokens", or "samples" of anything else.
std::string unit_of_input(const OpGraph& graph);

/*!
 * The lines of a run: on a terminal one that is rewritten, else about
 * forty plain ones, and every one that has news (validation, a skipped step).
 * The last step's is followed by how many steps were skipped.
 */
class ProgressPrinter {
public:
    //! \param unit of what is counted a second: "tokens", "samples"
    ProgressPrinter(std::int64_t first_step,
                    std::int64_t steps,
                    std::string unit);
    void print(const StepMetrics& metrics);

private:
    std::int64_t first_step_;
    std::int64_t steps_;
    std::string unit_;
    std::int64_t print_every_;
    std::int64_t num_skipped_ = 0;
    bool is_terminal_;
    double begin_s_;
};

//! Seconds by section over ranks: least, mean, most, share of the whole.
std::string describe_sections(
    const std::vector<std::vector<Section>>& sections_of_rank);

//! Sections as text for a control message, and back.
std::string pack_sections(const SectionTimer& timer);
std::vector<Section> unpack_sections(const std::string& text);

}  // namespace fusionllm
