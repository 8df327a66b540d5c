#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusionllm/comm/rank_table.hpp"

namespace fusionllm {

/*!
 * Why the ranks of this host stand still; "" unless one of them has for
 * `after_s`, in something that all ranks of the run do together.
 *
 * Ranks meet in the same order, so whoever waits in a meeting waits for those
 * that have not come to it, or are still at their own part of it:
 *
 *     rank 3 waits 31 s in the checkpoint of step 200 for rank 7, which writes
 *     its part
 *
 * Of ranks of other hosts nothing is known here: their hosts say it.
 *
 * \param stays of all ranks of the host, ascending
 */
std::string describe_stall(const std::vector<RankStay>& stays,
                           double after_s,
                           const std::string& host,
                           RanksHere ranks_here);

}  // namespace fusionllm
