#include "fusionllm/comm/rank_stall.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "fusionllm/util/units.hpp"

namespace fusionllm {
namespace {

constexpr std::size_t most_named = 8;

bool is_halted(const RankStay& stay) {
    return stay.process != ProcessState::runs;
}

bool writes(const RankStay& stay) {
    return stay.activity.phase == Phase::writing ||
           stay.activity.phase == Phase::trace;
}

//! For others, in a meeting.
bool waits(const RankStay& stay) {
    return is_meeting(stay.activity.phase) && !writes(stay) && !is_halted(stay);
}

//! On its own, where a file may not answer, or unable to go on.
bool is_stuck(const RankStay& stay) {
    return writes(stay) || (is_meeting(stay.activity.phase) && is_halted(stay));
}

//! Of those that do so for long, the one in the latest meeting; rather one
//! whose process does not run.
const RankStay* find_longest(const std::vector<RankStay>& stays,
                             double after_s,
                             bool (*does)(const RankStay&)) {
    const auto place = [](const RankStay& stay) {
        return std::pair(stay.meeting, is_halted(stay));
    };
    const RankStay* found = nullptr;
    for (const RankStay& stay : stays) {
        if (does(stay) && stay.for_s >= after_s &&
            (found == nullptr || place(stay) > place(*found))) {
            found = &stay;
        }
    }
    return found;
}

/*!
 * Those that have not come to the waiter's meeting, the last of them; if all
 * have, those that write in it. Of the last, rather those whose process does
 * not run: a rank that writes may be in a call that needs all ranks.
 */
std::vector<RankStay> find_behind(const std::vector<RankStay>& stays,
                                  const RankStay& waiter) {
    const auto first = std::ranges::min(stays, {}, &RankStay::meeting).meeting;
    std::vector<RankStay> last = stays;
    std::erase_if(last,
                  [&](const RankStay& stay) { return stay.meeting != first; });
    std::vector<RankStay> halted;
    std::ranges::copy_if(last, std::back_inserter(halted), is_halted);
    if (!halted.empty()) {
        return halted;
    }
    if (first == waiter.meeting) {
        std::erase_if(last, [](const RankStay& stay) { return !writes(stay); });
    }
    return last;
}

std::string describe_place(const Activity& activity) {
    switch (activity.phase) {
        case Phase::start:
        case Phase::agreement:
            return activity.step == 0
                       ? "at the start"
                       : fmt::format("at the start of step {}", activity.step);
        case Phase::end:
            return "at the end";
        case Phase::writing:
        case Phase::checkpoint:
            return fmt::format("in the checkpoint of step {}", activity.step);
        case Phase::forward:
        case Phase::backward:
        case Phase::update:
        case Phase::evaluation:
        case Phase::trace:
        case Phase::probe:
            break;
    }
    return fmt::format("at {} of step {}", to_text(activity), activity.step);
}

std::string describe_process(ProcessState state) {
    switch (state) {
        case ProcessState::runs:
            return "";
        case ProcessState::waits_for_disk:
            return " (waits for a disk)";
        case ProcessState::is_stopped:
            return " (stopped)";
        case ProcessState::is_gone:
            return " (gone)";
    }
    return "";
}

std::string describe_work(const Activity& activity) {
    if (activity.phase == Phase::writing) {
        return "writes its part";
    }
    if (activity.phase == Phase::probe) {
        return "measures links";
    }
    if (activity.phase == Phase::start && activity.step == 0) {
        return "is busy with input, model or data";
    }
    return "is " + describe_place(activity);
}

//! What a rank does that nobody else of its host waits for.
std::string describe_stay(const Activity& activity) {
    if (activity.phase == Phase::trace) {
        return fmt::format("writes its trace of step {}", activity.step);
    }
    if (activity.phase == Phase::writing) {
        return fmt::format("writes its part of the checkpoint of step {}",
                           activity.step);
    }
    return "is " + describe_place(activity);
}

std::string name_ranks(const std::vector<RankStay>& stays) {
    std::string names = stays.size() == 1 ? "rank" : "ranks";
    for (std::size_t i = 0; i < std::min(stays.size(), most_named); ++i) {
        names += fmt::format("{} {}", i == 0 ? "" : ",", stays[i].rank);
    }
    return stays.size() > most_named
               ? fmt::format("{} and {} more", names, stays.size() - most_named)
               : names;
}

std::string describe_behind(const std::vector<RankStay>& behind,
                            const std::string& host,
                            RanksHere ranks_here) {
    if (behind.empty()) {
        return ranks_here == RanksHere::some
                   ? fmt::format("ranks of other hosts than {}", host)
                   : "a call that all ranks are in";
    }
    const std::string names = name_ranks(behind);
    if (behind.size() > 1) {
        return names;
    }
    return fmt::format("{}, which {}{}",
                       names,
                       describe_work(behind.front().activity),
                       describe_process(behind.front().process));
}

}  // namespace

std::string describe_stall(const std::vector<RankStay>& stays,
                           double after_s,
                           const std::string& host,
                           RanksHere ranks_here) {
    if (const RankStay* waiter = find_longest(stays, after_s, waits)) {
        return fmt::format(
            "rank {} waits {} {} for {}",
            waiter->rank,
            format_seconds(waiter->for_s),
            describe_place(waiter->activity),
            describe_behind(find_behind(stays, *waiter), host, ranks_here));
    }
    if (const RankStay* stuck = find_longest(stays, after_s, is_stuck)) {
        return fmt::format("rank {} (host {}) {} for {}{}",
                           stuck->rank,
                           host,
                           describe_stay(stuck->activity),
                           format_seconds(stuck->for_s),
                           describe_process(stuck->process));
    }
    return "";
}

}  // namespace fusionllm
