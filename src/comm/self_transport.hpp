#pragma once

#include <memory>

#include "fusionllm/comm/transport.hpp"

namespace fusionllm::detail {

/*!
 * What carries rank `rank`'s messages to itself: the loopback of one rank.
 *
 * MPI could do it, but Open MPI 4.1.4 cuts a message to oneself that is too
 * long without an error.
 */
std::unique_ptr<Transport> make_self_transport(int rank, int num_ranks);

}  // namespace fusionllm::detail
