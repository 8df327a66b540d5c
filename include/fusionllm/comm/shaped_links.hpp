#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fusionllm/comm/mpi.hpp"

namespace fusionllm {

//! The way from one rank to another.
struct ShapedPath {
    double latency_s = 0;
    double bytes_per_s = 0;          //!< alone on it; infinite: no limit
    std::vector<std::size_t> lines;  //!< that it crosses, of `ShapedLinks`
    //! Messages of more than `eager_bytes` come later by this.
    double rendezvous_s = 0;
    double eager_bytes = 0;

    friend bool operator==(const ShapedPath&, const ShapedPath&) = default;
};

//! From `begin_s` to `end_s` after the start a line has `factor` of its
//! bandwidth: 0.1 is a slowed one, 0 an outage.
struct LineChange {
    std::size_t line = 0;
    double begin_s = 0;
    double end_s = 0;
    double factor = 1;

    friend bool operator==(const LineChange&, const LineChange&) = default;
};

/*!
 * Links that messages are delayed as if they crossed, on the clock of the
 * machine. The model is the simulator's: each directed path carries one message
 * at a time, in the order in which they were given to it; paths that cross the
 * same line share its bandwidth equally while they carry; the latency comes
 * after the last byte.
 */
struct ShapedLinks {
    int num_ranks = 0;
    std::vector<ShapedPath> paths;         //!< [from * num_ranks + to]
    std::vector<double> line_bytes_per_s;  //!< infinite: no limit
    std::vector<LineChange> changes;
    //! A message comes up to this later, as the seed has it; none overtakes.
    double jitter_s = 0;
    std::uint64_t seed = 1;

    const ShapedPath& path(int from, int to) const {
        return paths.at(static_cast<std::size_t>(from) *
                            static_cast<std::size_t>(num_ranks) +
                        static_cast<std::size_t>(to));
    }
    friend bool operator==(const ShapedLinks&, const ShapedLinks&) = default;
};

namespace detail {
class LinkBoard;
}

//! What all ranks of a run know of its shaped links: what is on its way.
using SharedLinks = std::shared_ptr<detail::LinkBoard>;

//! For ranks that are threads of this process. `clock`: seconds, never back.
SharedLinks share_links(ShapedLinks links, std::function<double()> clock);

/*!
 * For the ranks of `world` (collective), in memory that they share as
 * `RankTable` does. Throws `InputError` on all ranks unless they are on one
 * host: the clocks of two hosts differ, and so would their links.
 */
SharedLinks share_links(const mpi::Communicator& world,
                        const std::string& job_id,
                        ShapedLinks links);

}  // namespace fusionllm
