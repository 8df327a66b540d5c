#pragma once

#include <cstddef>
#include <string>

#include "fusionllm/comm/mpi.hpp"

namespace fusionllm::detail {

/*!
 * Map `num_bytes` zero bytes that all ranks of `host` share (collective).
 *
 * The first rank makes a file for it, the others open it, and it is unlinked
 * when everybody has it: nothing stays behind, even after SIGKILL. Throws
 * `Error` on all ranks if it fails on one of them.
 */
void* map_shared(const mpi::Communicator& host,
                 const std::string& name,
                 std::size_t num_bytes);

}  // namespace fusionllm::detail
