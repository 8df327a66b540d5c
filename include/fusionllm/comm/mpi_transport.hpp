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
 * Transport over MPI: messages inside a group go through the group's
 * intracommunicator, messages between groups through the pair's
 * *intercommunicator* (created in ascending (a, b) order on all ranks).
 * A message to a group without an intercommunicator throws `Error`.
 *
 * A message is one MPI message, also above INT_MAX bytes; it is then made of
 * blocks in a derived datatype. A receive takes memory when its message has
 * come, as much as the message has bytes.
 *
 * Collective to construct over `world`; throws `InputError` on all ranks if
 * the layout makes no sense or MPI offers too few tags. The destructor frees
 * the communicators, but not while an exception unwinds.
 */
class MpiTransport final : public Transport {
public:
    MpiTransport(const mpi::Communicator& world, GroupLayout layout);
    //! Messages above `block_bytes` (at most INT_MAX) are made of blocks.
    MpiTransport(const mpi::Communicator& world,
                 GroupLayout layout,
                 std::size_t block_bytes);
    ~MpiTransport() override;

    int rank() const override;
    int size() const override;
    Request send(int destination, Channel channel, Buffer message) override;
    Request receive(int source,
                    Channel channel,
                    std::size_t max_bytes) override;

    //! The intracommunicator of this rank's group, for collective I/O.
    const mpi::Communicator& group() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace fusionllm
