#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fusionllm/comm/watchman.hpp"
#include "fusionllm/plan/codec_error.hpp"
#include "fusionllm/plan/fence.hpp"
#include "fusionllm/runtime/arrival_clock.hpp"
#include "fusionllm/runtime/fence_report.hpp"
#include "fusionllm/runtime/sent_bytes.hpp"

namespace fusionllm {

//! What a rank tells the root after its backwards of a step.
struct StepReport {
    double loss_sum = 0;
    std::uint8_t has_loss = 0;
    StopRequest stop = StopRequest::none;
    std::int32_t stage = -1;
    //! (position in the signature, sum of squares in fp64) of owned parameters
    std::vector<std::pair<std::uint32_t, double>> squares;
    std::string bad_op;
    std::string bad_activation;
    std::string bad_gradient;
    SentBytes sent;
    LinkActivity links{};
    //! Bytes/s to the neighbours, where that was tried out (`LinkSurvey`).
    std::optional<double> rate_to_next{};
    std::optional<double> rate_to_previous{};
    std::vector<FenceReport> fences;
    std::vector<MeasuredError> errors;  //!< of codecs that were tried

    friend bool operator==(const StepReport&, const StepReport&) = default;
};

//! What the root tells all ranks: one message decides clipping and skipping.
struct StepDecision {
    double loss = 0;       //!< mean over the batch
    double grad_norm = 0;  //!< before clipping
    double scale = 1;      //!< of all gradients
    std::uint8_t is_skipped = 0;
    StopRequest stop = StopRequest::none;
    std::string reason;  //!< what was not finite, for a skipped step
    //! From the next step on; nothing: as before.
    std::optional<std::vector<Fence>> fences{};

    friend bool operator==(const StepDecision&, const StepDecision&) = default;
};

std::string pack(const StepReport& report);
StepReport unpack_report(std::string_view bytes);
std::string pack(const StepDecision& decision);
StepDecision unpack_decision(std::string_view bytes);

/*!
 * Combine the reports of all ranks.
 *
 * The norm is the root of the sum of `squares` in canonical order of the
 * parameters (never in order of ranks). A step with a non-finite loss or norm
 * is skipped; `reason` names the first cause found, in the order of the
 * computation.
 */
StepDecision decide(const std::vector<StepReport>& reports,
                    const std::vector<std::string>& parameter_names,
                    int micro_batches,
                    double clip_norm);

}  // namespace fusionllm
