#pragma once

#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "fusionllm/comm/link_trial.hpp"
#include "fusionllm/comm/transport.hpp"

namespace fusionllm {

//! What a probe may cost each pair, in each direction.
struct ProbeLimits {
    //! Of the largest message; it is not sent where it would take longer than
    //! `largest_s`.
    std::size_t largest_bytes = std::size_t{4} << 20;
    double largest_s = 0.2;
    int repeats = 5;  //!< of every size that takes less than a tenth of that
    //! Streams of so many messages tell the bandwidth: two, or more if these
    //! do not agree.
    int num_streamed = 8;
    int most_streams = 4;
};

/*!
 * How long a message takes from one rank to another, as it was measured:
 *
 *     latency + bytes / bandwidth (+ rendezvous above `eager_bytes`)
 *
 * MPI libraries send small messages at once (eager) and ask before large ones
 * (rendezvous), which costs a round trip more.
 */
struct MeasuredLink {
    int from = 0;
    int to = 0;
    double latency_s = 0;  //!< half of the round trip
    double bytes_per_s = 0;
    std::size_t eager_bytes = 0;  //!< largest message without `rendezvous_s`
    double rendezvous_s = 0;      //!< 0 if no such step is seen
    //! Half of what was measured, by time, was as near to this model as this
    //! share of it: 0.02 is trustworthy, 0.5 is not.
    double error = 0;

    friend bool operator==(const MeasuredLink&, const MeasuredLink&) = default;
};

//! One end of a link that is measured waits for messages of the other one.
struct ProbeWait {
    int from = 0;  //!< the link's
    int to = 0;
    int rank = 0;  //!< one of them, which waits
    double waited_s = 0;

    friend bool operator==(const ProbeWait&, const ProbeWait&) = default;
};

//! What is said of long waits, on the rank that waits.
struct ProbeNotices {
    //! First after this; the next one after twice that, then four times. Who
    //! answers is twice as patient as who sends. 0: never.
    double after_s = 0;
    std::function<void(const ProbeWait&)> say;
};

//! A size and the seconds of its one way.
struct TimedSize {
    double bytes = 0;
    double seconds = 0;
};

/*!
 * The model that fits these times best, with one step at most: least squares
 * of relative errors, over all places of the step. Needs two sizes or more.
 */
MeasuredLink fit_link(double latency_s, const std::vector<TimedSize>& times);

/*!
 * Measure a link by sending messages over it: single ones for latency and
 * rendezvous, then streams for the bandwidth, of which the fastest counts.
 * Single messages cannot tell that: lines let short ones through faster than
 * their rate after a pause (token buckets), and TCP first has to find out how
 * fast they are and may lose what it sends too fast.
 */
MeasuredLink measure_link(const LinkTrial& trial, const ProbeLimits& limits);

/*!
 * Rounds of pairs of `num` players, each with each once, nobody twice in a
 * round (the circle method: num - 1 rounds for an even number, num for an odd
 * one).
 */
std::vector<std::vector<std::pair<int, int>>> make_rounds(int num);

/*!
 * Measure the links of these pairs of ranks in both directions, round by round;
 * nobody may be twice in a round. Collective over the transport; the links are
 * known to the root, rank 0, by (from, to).
 *
 * A direction of 8 Mbit/s costs 1 to 2 s and 1 to 1.6 MB, and a round both.
 *
 * \param clock seconds, also of the notices
 */
std::vector<MeasuredLink> probe(
    Transport& transport,
    const std::vector<std::vector<std::pair<int, int>>>& rounds,
    const ProbeLimits& limits,
    const std::function<double()>& clock,
    const ProbeNotices& notices);

}  // namespace fusionllm
