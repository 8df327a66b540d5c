#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "fusionllm/plan/codec_error.hpp"
#include "fusionllm/runtime/step_report.hpp"

namespace fusionllm {

//! What a step showed of a link, one direction, in bytes/s.
struct LinkFindings {
    std::optional<double> tried;  //!< between steps, with nothing else on it
    //! While messages were on their way for sure, if that was a twentieth of
    //! the step: an idle link tells nothing of its rate.
    std::optional<double> seen;

    friend bool operator==(const LinkFindings&, const LinkFindings&) = default;
};

//! What a step showed of codecs and links, for whoever chooses codecs.
struct StepMeasurements {
    std::int64_t step = 0;              //!< updates so far, this one included
    std::vector<MeasuredError> errors;  //!< empty in most steps
    //! From stage s to s + 1, and from s + 1 to s; by stage but the last.
    std::vector<LinkFindings> forward;
    std::vector<LinkFindings> backward;
};

//! \param step_s wall time of the step so far
StepMeasurements measurements_of(const std::vector<StepReport>& reports,
                                 const std::vector<int>& rank_of_stage,
                                 double step_s);

}  // namespace fusionllm
