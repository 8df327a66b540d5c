#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fusionllm/wire/codec_spec.hpp"

namespace fusionllm {

/*!
 * How many bits (8, 6, 5, 4, 3, 2 or 0) the coefficients of each vector get,
 * within the bytes of as many blocks of a graded format, so that the mean
 * square error of all is small: the bit that gains most for its bytes first,
 * until none fits (reverse water-filling: Cover and Thomas, Elements of
 * Information Theory, 10.3.3, with the formats there are).
 *
 * \param squares of each vector's coefficients, summed; not finite counts most
 * \param rows coefficients of a vector
 * Without any squares all have those of the format on average. Ties: the lower
 * vector first.
 */
std::vector<std::uint8_t> grade_bits(ValueFormat graded,
                                     std::span<const double> squares,
                                     std::uint64_t rows);

}  // namespace fusionllm
