#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>

#include "fusionllm/comm/mpi.hpp"
#include "fusionllm/comm/mpi_transport.hpp"
#include "fusionllm/comm/transport.hpp"

#include "channel_check.hpp"

namespace fusionllm::detail {

class Arrival;

//! The other end of a message: its rank in the communicator and in the run.
struct Peer {
    int rank_in_group;
    int rank;
};

/*!
 * How many calls of MPI in vain a test of a message of several pieces makes.
 *
 * Over UCX a call moves one piece at most, and the next test may come late, so
 * one in vain says little while pieces move. Over TCP each is a system call or
 * two, so when nothing has moved for some tests, one has to do.
 */
class Tries {
public:
    int next() const { return num_; }
    void count(bool has_moved) { num_ = has_moved ? most : (num_ + 1) / 2; }

private:
    static constexpr int most = 32;
    int num_ = most;
};

/*!
 * Messages through one communicator.
 *
 * Receives are matched by MPI_Improbe instead of being posted by MPI_Irecv:
 * where a posted message is longer than its buffer, Open MPI 4.1.4 writes past
 * the end before it says MPI_ERR_TRUNCATE (single-copy transfers between
 * processes of one host). So the length is known before the buffer is made;
 * it also has no byte too many. Every test of an unmatched receive starts all
 * receives of the link whose message has come, as posted ones would start.
 *
 * With `parts.piece_bytes` a message is as many full pieces as it has, each a
 * message of MPI, and a shorter last one, which may be empty.
 */
class MpiLink : public std::enable_shared_from_this<MpiLink> {
public:
    //! `own_rank` in the run is for the texts of errors.
    MpiLink(mpi::Communicator communicator, int own_rank, MessageParts parts);

    Request send(const Peer& to, Channel channel, Buffer message);
    Request receive(const Peer& from, Channel channel, std::size_t max_bytes);

    //! Give every piece that has come to the first receive of its lane.
    void match_arrivals();

    const mpi::Communicator& communicator() const { return communicator_; }
    //! Of the pieces that were matched.
    std::uint64_t received_bytes(const Peer& from) const {
        const auto found = received_bytes_.find(from.rank_in_group);
        return found == received_bytes_.end() ? 0 : found->second;
    }

private:
    //! What comes of one source on one channel, in order. Receives wait that
    //! are not complete; early are pieces for which none waits.
    struct Lane {
        std::deque<std::shared_ptr<Arrival>> waiting;
        std::deque<std::pair<MPI_Message, std::size_t>> early;
    };

    mpi::Communicator communicator_;
    int own_rank_;
    MessageParts parts_;
    Tries tries_;
    std::map<std::pair<int, int>, Lane> lanes_;    //!< by source and tag
    std::map<int, std::uint64_t> received_bytes_;  //!< by source
};

//! Tag of all messages of a channel: the kind above the slot.
int tag_of(Channel channel);

inline constexpr int largest_tag =
    static_cast<int>(num_message_kinds * num_slots) - 1;

}  // namespace fusionllm::detail
