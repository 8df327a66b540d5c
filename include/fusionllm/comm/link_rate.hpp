#pragma once

#include <cstddef>

#include "fusionllm/comm/link_trial.hpp"

namespace fusionllm {

//! What measuring a link's rate may cost.
struct RateLimits {
    double stream_s = 0.04;  //!< that a stream should last
    //! Of a message. Smaller ones would all go through at once on lines that
    //! let short ones pass after a pause (token buckets).
    std::size_t least_bytes = 2048;
    std::size_t most_bytes = std::size_t{4} << 20;
    int num_streamed = 8;  //!< messages of a stream
    int most_streams = 4;  //!< that last as long as they should
};

struct LinkRate {
    double bytes_per_s = 0;
    //! With which a stream lasts about as long as it should.
    std::size_t message_bytes = 0;
};

/*!
 * The rate of a link that nothing else uses, from streams of messages: their
 * bytes but the first message's, over the seconds from its answer to the last
 * one's. Neither latency nor a slow start is in that, as it is in the time of a
 * training message, of which a few kilobytes may be all there is. Two streams
 * are enough if they agree, one if it lasts four times as long as it should:
 * what disturbs is short beside it.
 *
 * \param message_bytes to begin with; larger messages follow until a stream
 *     lasts half of `stream_s`
 */
LinkRate measure_rate(const LinkTrial& trial,
                      const RateLimits& limits,
                      std::size_t message_bytes);

}  // namespace fusionllm
