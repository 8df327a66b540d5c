#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"

#include "app/device_software.hpp"
#include "app/run_input.hpp"

namespace fusionllm {

/*!
 * What rank 0 read of the files that [model] names, for all ranks: models that
 * are built in need nothing of it.
 */
struct ModelSource {
    //! With its loss, as the file has it; none for models that are built in.
    std::optional<OpGraph> graph;
    //! Of the files that first values come from.
    std::vector<std::uint64_t> fingerprints{};
    //! Sentences that the user should see.
    std::vector<std::string> notes{};
    //! Of a run whose ranks were asked; rank 0 alone knows it, who plans.
    DeviceSoftware software{};

    friend bool operator==(const ModelSource&, const ModelSource&) = default;
};

//! Throws `InputError` for files that are not what [model] says, or do not fit
//! together.
ModelSource load_model(const RunInput& input);

//! One a line, where the program says what it does.
void print_notes(const std::vector<std::string>& notes);

std::string to_text(const ModelSource& source);
ModelSource parse_model_source(const std::string& text);

//! Samples of a micro-batch: the first size of all inputs of the file's graph.
//! Throws `InputError` if they differ.
std::int64_t micro_batch_of(const OpGraph& graph);

//! The model of the input, whichever kind, for its micro-batches, whose number
//! must have been chosen; rewritten if compression's rule is "cut". Throws
//! `InputError` if it cannot be cut there.
OpGraph make_model(const RunInput& input, const ModelSource& source);

//! The model as `fit_to_ranks` makes it; its notes are added. Models that are
//! built in stay as they are, but may have to be placed.
void fit_to_ranks(ModelSource& source,
                  RunInput input,
                  const RankSoftware& ranks,
                  const AskRanks& ask);

}  // namespace fusionllm
