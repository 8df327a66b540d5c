#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "fusionllm/wire/codec_spec.hpp"

namespace fusionllm {

/*!
 * What one direction of a fence cost and did to the numbers, over the
 * micro-batches of a step. The encoding end knows bytes and errors, the
 * decoding end its seconds; added up they are the fence's.
 */
struct FenceReport {
    std::uint64_t cut = 0;
    std::uint32_t value = 0;
    Direction direction = Direction::forward;
    std::uint64_t dense_bytes = 0;  //!< of the numbers as f32
    std::uint64_t bytes = 0;        //!< of the payloads
    double encode_s = 0;
    double decode_s = 0;
    //! Measured on the first micro-batch of some steps:
    //! |x - decoded| / |x| and the cosine between the two.
    std::optional<double> error;
    std::optional<double> cosine;
    //! Bytes/s of the link that the messages take, if it was tried out.
    std::optional<double> link_bytes_per_s{};

    friend bool operator==(const FenceReport&, const FenceReport&) = default;
};

//! Sums by (cut, value, direction), ascending; a number that only one knows is
//! taken from that one.
std::vector<FenceReport> merge_reports(std::vector<FenceReport> reports);

}  // namespace fusionllm
