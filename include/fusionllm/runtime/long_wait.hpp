#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "fusionllm/comm/wait.hpp"
#include "fusionllm/plan/schedule.hpp"

namespace fusionllm {

//! A rank that has waited long.
struct LongWait {
    int rank = 0;
    std::int64_t step = 0;
    Awaited awaited;
    double waited_s = 0;
    //! That have come from the rank it waits for, since it does.
    std::uint64_t moved_bytes = 0;

    friend bool operator==(const LongWait&, const LongWait&) = default;
};

/*!
 * The wait that explains that of `rank`: its message's sender waits itself,
 * and so on, up to one whose sender does not say that it waits, or waits for
 * what comes after the message, which is on its way then.
 *
 * \param waits by rank; has that of `rank`
 * \param stage_of_rank -1 for ranks without a stage
 */
LongWait find_cause(const std::map<int, LongWait>& waits,
                    int rank,
                    const Schedule& schedule,
                    const std::vector<int>& stage_of_rank);

}  // namespace fusionllm
