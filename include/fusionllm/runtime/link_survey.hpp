#pragma once

#include <cstddef>
#include <optional>

#include "fusionllm/comm/link_rate.hpp"
#include "fusionllm/comm/transport.hpp"
#include "fusionllm/comm/wait.hpp"
#include "fusionllm/graph/slice.hpp"
#include "fusionllm/runtime/rank_role.hpp"
#include "fusionllm/runtime/step_report.hpp"

namespace fusionllm {

/*!
 * What the links between neighbouring stages carry, tried out between steps,
 * when nothing else is on them. Training messages cannot tell: compressed ones
 * are a few packets, which buffers swallow, and what is seen of them is mostly
 * when a busy core came to look.
 *
 * A survey of both directions of a link takes 4 to 8 streams (`RateLimits`),
 * each a 400th of the time since the last survey or, where that is short, 16
 * KiB.
 */
class LinkSurvey {
public:
    //! \param role of a rank with a stage
    LinkSurvey(Transport& transport, IdleWait& wait, const RankRole& role)
        : transport_(transport), wait_(wait), role_(role) {}

    //! Collective over the ranks with stages: first the links behind the 1st,
    //! 3rd, 5th stage, then the others, so that no rank is in two at once.
    void measure();
    //! What was found since the last call, and which messages it is for.
    void add_to(StepReport& report, const StageSlice& slice);

private:
    TrialWait wait_for(int rank);
    void answer(int rank);
    void meet(int rank);
    void measure_link(std::size_t stage);
    double measure_to(int rank, std::size_t& message_bytes);

    Transport& transport_;
    IdleWait& wait_;
    const RankRole& role_;
    RateLimits limits_;
    std::optional<double> to_next_;
    std::optional<double> to_previous_;
    std::optional<double> last_s_;  // on the clock of `monotonic_s`
    std::size_t bytes_to_next_ = 0;
    std::size_t bytes_to_previous_ = 0;
};

}  // namespace fusionllm
