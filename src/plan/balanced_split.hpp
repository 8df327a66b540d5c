#pragma once

#include <cstddef>
#include <vector>

namespace fusionllm::detail {

/*!
 * Cut ops into as many non-empty stages as there are speeds, so that the
 * largest work/speed of a stage is least, exactly; of equal ones the least list
 * of cuts.
 *
 * \param work_before of the ops before each position, 0 to the number of ops,
 *        which is at least that of the stages
 * \return where stages begin, and the number of ops
 */
std::vector<std::size_t> split_in_proportion(std::vector<double> work_before,
                                             std::vector<double> speeds);

}  // namespace fusionllm::detail
