#include "fusionllm/runtime/link_survey.hpp"

#include <algorithm>
#include <utility>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/timing.hpp"

namespace fusionllm {
namespace {

constexpr Channel greeting{MessageKind::control, 48};
constexpr TrialChannels channels{{MessageKind::control, 49},
                                 {MessageKind::control, 50}};
constexpr double share_of_stream = 1.0 / 400;  // of the time since the last
constexpr double least_stream_s = 0.005;
constexpr double longest_spin_s = 1;  // more than any round trip

}  // namespace

void LinkSurvey::measure() {
    const double now_s = monotonic_s();
    const RateLimits usual;
    limits_.stream_s = last_s_
                           ? std::clamp(share_of_stream * (now_s - *last_s_),
                                        least_stream_s,
                                        usual.stream_s)
                           : usual.stream_s;
    last_s_ = now_s;
    const std::size_t num_links = role_.rank_of_stage.size() - 1;
    for (std::size_t first = 0; first < 2; ++first) {
        for (std::size_t s = first; s < num_links; s += 2) {
            measure_link(s);
        }
    }
}

void LinkSurvey::add_to(StepReport& report, const StageSlice& slice) {
    report.rate_to_next = std::exchange(to_next_, std::nullopt);
    report.rate_to_previous = std::exchange(to_previous_, std::nullopt);
    for (FenceReport& fence : report.fences) {
        const bool is_forward = fence.direction == Direction::forward;
        if (fence.cut == (is_forward ? slice.ops.end : slice.ops.begin)) {
            fence.link_bytes_per_s =
                is_forward ? report.rate_to_next : report.rate_to_previous;
        }
    }
}

//! Both directions of the link from this stage to the next.
void LinkSurvey::measure_link(std::size_t stage) {
    const int before = role_.rank_of_stage[stage];
    const int behind = role_.rank_of_stage[stage + 1];
    if (role_.stage == stage) {
        meet(behind);
        to_next_ = measure_to(behind, bytes_to_next_);
        answer(behind);
    } else if (role_.stage == stage + 1) {
        meet(before);
        answer(before);
        to_previous_ = measure_to(before, bytes_to_previous_);
    }
}

/*!
 * Without sleeping: an answer that is seen a millisecond late is a quarter of a
 * short stream. A line that is down is waited for in peace, and whoever watches
 * hears of it.
 */
TrialWait LinkSurvey::wait_for(int rank) {
    return [this, rank, since_s = monotonic_s()](bool has_progress) mutable {
        if (has_progress) {
            since_s = monotonic_s();
            wait_.reset();
        } else if (monotonic_s() - since_s < longest_spin_s) {
            spin(has_progress);
        } else {
            wait_.idle({MessageKind::control, 0, rank, true});
        }
    };
}

void LinkSurvey::answer(int rank) {
    answer_trials(
        transport_, rank, channels, limits_.most_bytes, wait_for(rank));
}

//! So that a stream does not begin while the other one is not there.
void LinkSurvey::meet(int rank) {
    Request theirs = transport_.receive(rank, greeting, 1);
    Request mine = transport_.send(rank, greeting, Buffer(1));
    wait(theirs, wait_, {MessageKind::control, 0, rank, true});
    wait(mine);
}

double LinkSurvey::measure_to(int rank, std::size_t& message_bytes) {
    TrialSender sender(transport_, rank, channels, monotonic_s, wait_for(rank));
    const LinkRate found = measure_rate(sender.trial(), limits_, message_bytes);
    sender.end();
    message_bytes = found.message_bytes;
    return found.bytes_per_s;
}

}  // namespace fusionllm
