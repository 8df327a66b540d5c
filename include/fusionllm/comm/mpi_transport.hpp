#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fusionllm/comm/mpi.hpp"
#include "fusionllm/comm/transport.hpp"

namespace fusionllm {

/*!
 * Ranks by group: `group_of_rank[r]` is the device group of rank r, and
 * `group_pairs` lists the pairs (a < b) that exchange messages.
 */
struct GroupLayout {
    std::vector<int> group_of_rank;
    std::vector<std::pair<int, int>> group_pairs;
};

/*!
 * How long messages become those of MPI, whose lengths are ints: above
 * `block_bytes` (at most INT_MAX) as one message of blocks. Between groups they
 * are cut into pieces of `piece_bytes`, or not if that is 0.
 */
struct MessageParts {
    std::size_t block_bytes;
    std::size_t piece_bytes;
};

/*!
 * Transport over MPI: messages inside a group go through the group's
 * intracommunicator, messages between groups through the pair's
 * *intercommunicator* (created in ascending (a, b) order on all ranks).
 * A message to a group without an intercommunicator throws `Error`.
 *
 * Inside a group a message is one MPI message, also above INT_MAX bytes.
 * Between groups, whose lines may be slow and long, it is cut into pieces so
 * short that MPI sends them at once: a long message waits for the receiver's
 * answer first, behind all that is on its way in that direction
 * (docs/decisions/pieces-between-groups.md). A receive takes memory when its
 * message has begun to come.
 *
 * Collective to construct over `world`; throws `InputError` on all ranks if
 * the layout makes no sense or MPI offers too few tags. The destructor frees
 * the communicators, but not while an exception unwinds.
 */
class MpiTransport final : public Transport {
public:
    MpiTransport(const mpi::Communicator& world, GroupLayout layout);
    MpiTransport(const mpi::Communicator& world,
                 GroupLayout layout,
                 MessageParts parts);
    ~MpiTransport() override;

    int rank() const override;
    int size() const override;
    Request send(int destination, Channel channel, Buffer message) override;
    Request receive(int source,
                    Channel channel,
                    std::size_t max_bytes) override;
    std::uint64_t received_bytes(int source) const override;

    //! The intracommunicator of this rank's group, for collective I/O.
    const mpi::Communicator& group() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace fusionllm
