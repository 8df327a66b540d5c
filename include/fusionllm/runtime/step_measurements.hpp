#pragma once

#include <cstdint>
#include <vector>

#include "fusionllm/plan/codec_error.hpp"
#include "fusionllm/runtime/step_report.hpp"

namespace fusionllm {

//! What a step showed of codecs and links, for whoever chooses codecs.
struct StepMeasurements {
    std::int64_t step = 0;              //!< updates so far, this one included
    std::vector<MeasuredError> errors;  //!< empty in most steps
    /*!
     * Bytes/s from stage s to s + 1, and from s + 1 to s, while messages were
     * on their way; NaN unless that was a third of the step: an idle link tells
     * nothing of its rate. By stage but the last.
     */
    std::vector<double> forward_bytes_per_s;
    std::vector<double> backward_bytes_per_s;
};

//! \param step_s wall time of the step so far
StepMeasurements measurements_of(const std::vector<StepReport>& reports,
                                 const std::vector<int>& rank_of_stage,
                                 double step_s);

}  // namespace fusionllm
