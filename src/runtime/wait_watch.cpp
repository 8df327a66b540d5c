#include "fusionllm/runtime/wait_watch.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "fusionllm/comm/wait.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

constexpr int root = 0;
constexpr Channel channel{MessageKind::control, 40};
constexpr double end_of_watch_s = -1;
// What others tell shall have come when rank 0 says why it waits.
constexpr double patience_of_root = 1.25;
constexpr double listen_every_s = 0.05;

Buffer encode(const LongWait& wait) {
    Buffer buffer(sizeof(LongWait));
    std::memcpy(buffer.data(), &wait, sizeof(LongWait));
    return buffer;
}

LongWait decode(const Buffer& buffer) {
    if (buffer.size() != sizeof(LongWait)) {
        throw Error(fmt::format(
            "a rank told in {} bytes that it waits, not in {}; check that all "
            "ranks run the same version of fusionllm",
            buffer.size(),
            sizeof(LongWait)));
    }
    LongWait wait;
    std::memcpy(&wait, buffer.data(), sizeof(LongWait));
    return wait;
}

}  // namespace

WaitWatch::WaitWatch(Transport& transport,
                     WaitNotices notices,
                     Schedule schedule,
                     const std::vector<int>& rank_of_stage,
                     std::function<double()> clock)
    : transport_(transport),
      notices_(std::move(notices)),
      schedule_(std::move(schedule)),
      stage_of_rank_(static_cast<std::size_t>(transport.size()), -1),
      clock_(std::move(clock)),
      gap_s_(notices_.after_s) {
    FUSIONLLM_EXPECTS(notices_.after_s > 0);
    for (std::size_t stage = 0; stage < rank_of_stage.size(); ++stage) {
        stage_of_rank_.at(static_cast<std::size_t>(rank_of_stage[stage])) =
            static_cast<int>(stage);
    }
    for (int rank = 1; is_root() && rank < transport_.size(); ++rank) {
        posted_.emplace(rank,
                        transport_.receive(rank, channel, sizeof(LongWait)));
    }
}

void WaitWatch::begin_step(std::int64_t step) {
    step_ = step;
    awaited_.reset();
    std::erase_if(telling_, [](Request& request) { return request.test(); });
    if (is_root()) {
        listen(clock_());
    }
}

void WaitWatch::see(const Awaited& awaited) {
    const double now_s = clock_();
    if (awaited_ != awaited) {
        awaited_ = awaited;
        since_s_ = now_s;
        bytes_before_ = transport_.received_bytes(awaited.from_rank);
        tell_at_s_ = now_s + notices_.after_s;
    } else if (is_root()) {
        see_as_root(now_s);
    } else if (now_s >= tell_at_s_) {
        tell_at_s_ = now_s + (now_s - since_s_);
        tell(own_wait(now_s));
    }
}

LongWait WaitWatch::own_wait(double now_s) const {
    return {transport_.rank(),
            step_,
            *awaited_,
            now_s - since_s_,
            transport_.received_bytes(awaited_->from_rank) - bytes_before_};
}

void WaitWatch::tell(const LongWait& wait) {
    telling_.push_back(transport_.send(root, channel, encode(wait)));
}

bool WaitWatch::listen(double now_s) {
    bool is_open = false;
    for (auto& [rank, request] : posted_) {
        if (!request) {
            continue;
        }
        is_open = true;
        if (!request->test()) {
            continue;
        }
        const LongWait wait = decode(request->take());
        request.reset();
        if (wait.waited_s != end_of_watch_s) {
            heard_[rank] = {wait, now_s};
            request = transport_.receive(rank, channel, sizeof(LongWait));
        }
    }
    return is_open;
}

void WaitWatch::see_as_root(double now_s) {
    const double waited_s = now_s - since_s_;
    if (waited_s < notices_.after_s || now_s < listen_at_s_) {
        return;
    }
    listen_at_s_ = now_s + listen_every_s;
    listen(now_s);
    if (waited_s >= patience_of_root * notices_.after_s && now_s >= say_at_s_) {
        if (now_s > say_at_s_ + 2 * gap_s_) {
            gap_s_ = notices_.after_s;  // long ago
        }
        gap_s_ *= 2;
        say_at_s_ = now_s + gap_s_;
        if (notices_.say) {
            notices_.say(cause_of(own_wait(now_s), now_s));
        }
    }
}

LongWait WaitWatch::cause_of(const LongWait& own, double now_s) const {
    std::map<int, LongWait> waits{{root, own}};
    for (const auto& [rank, heard] : heard_) {
        LongWait wait = heard.wait;
        const double age_s = now_s - heard.at_s;
        // By then it would have told again.
        if (age_s < wait.waited_s + notices_.after_s / 2) {
            wait.waited_s += age_s;
            waits.emplace(rank, wait);
        }
    }
    return find_cause(waits, root, schedule_, stage_of_rank_);
}

void WaitWatch::finish() {
    if (!is_root()) {
        tell({transport_.rank(), step_, {}, end_of_watch_s, 0});
        for (Request& request : telling_) {
            wait(request);
        }
        telling_.clear();
        return;
    }
    IdleWait idle_wait;
    while (listen(clock_())) {
        idle_wait.idle();
    }
}

}  // namespace fusionllm
